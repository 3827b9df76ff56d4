#include "lib/file/label_places.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace bitanchor {

std::vector<double> SpreadLabels(const std::vector<double>& places, double gap, double low,
                                 double high) {
  struct Group {
    double sum;  // of the places
    std::vector<size_t> members;
    double middle = 0;
  };
  const auto settle = [&](Group& group) {
    const double n = static_cast<double>(group.members.size()), half = gap * (n - 1) / 2;
    group.middle = std::max(low + half, std::min(high - half, group.sum / n));
  };
  std::vector<size_t> order(places.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return places[a] < places[b]; });
  std::vector<Group> groups;
  for (const size_t index : order) {
    groups.push_back({places[index], {index}});
    settle(groups.back());
    while (groups.size() > 1) {
      Group &last = groups.back(), &before = groups[groups.size() - 2];
      const size_t both = last.members.size() + before.members.size();
      if (last.middle - before.middle >= gap * static_cast<double>(both) / 2) break;
      before.sum += last.sum;
      before.members.insert(before.members.end(), last.members.begin(), last.members.end());
      groups.pop_back();
      settle(groups.back());
    }
  }
  std::vector<double> spread(places.size());
  for (const Group& group : groups) {
    const double n = static_cast<double>(group.members.size());
    for (size_t m = 0; m < group.members.size(); ++m) {
      spread[group.members[m]] = group.middle + gap * (static_cast<double>(m) - (n - 1) / 2);
    }
  }
  return spread;
}

}  // namespace bitanchor

// Labels beside a chart, moved so that none covers another.
#ifndef BITANCHOR_LIB_FILE_LABEL_PLACES_H_
#define BITANCHOR_LIB_FILE_LABEL_PLACES_H_

#include <vector>

namespace bitanchor {

// The places, at least `gap` apart, inside [low, high] if there is room for all, in their order and
// as near to where they were as that allows: labels that would touch stand around their mean.
std::vector<double> SpreadLabels(const std::vector<double>& places, double gap, double low,
                                 double high);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_LABEL_PLACES_H_

// All 2^32 f32 inputs in 512 blocks (one sign and exponent each, 2^23 inputs), on all cores, with a
// record on disk: a sweep that was stopped goes on where it was when the same executable runs
// again.
#ifndef BITANCHOR_TESTS_NUMBER_SWEEP_H_
#define BITANCHOR_TESTS_NUMBER_SWEEP_H_

#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace bitanchor::testing {

inline constexpr uint32_t kBlocks = 512, kBlockInputs = 1 << 23;

// An input whose true result lies next to a rounding boundary, and log2 of the distance in ulp.
struct HardCase {
  uint32_t bits = 0;
  double log2_distance = 0;
};

struct Tally {
  uint64_t checked = 0;        // inputs whose result was compared
  uint64_t wrong = 0;          // results that differ from the oracle's
  uint64_t asked = 0;          // inputs that MPFR itself decided
  uint64_t cross_checked = 0;  // inputs where the cheap oracle was held against MPFR
  uint64_t oracle_wrong = 0;   // ... and differed
  double core_seconds = 0;
  std::vector<HardCase> hard;
  std::vector<uint32_t> wrong_inputs;  // the first of each block

  void Add(const Tally& other) {
    checked += other.checked;
    wrong += other.wrong;
    asked += other.asked;
    cross_checked += other.cross_checked;
    oracle_wrong += other.oracle_wrong;
    core_seconds += other.core_seconds;
    hard.insert(hard.end(), other.hard.begin(), other.hard.end());
    wrong_inputs.insert(wrong_inputs.end(), other.wrong_inputs.begin(), other.wrong_inputs.end());
  }
};

// One line a block, written at once; a line that was cut short lacks its "end" and counts for
// nothing. The first line names the executable by its contents: another build starts afresh.
class Record {
 public:
  explicit Record(const std::string& path) : path_(path) {
    std::ifstream file(path_);
    std::string line;
    if (std::getline(file, line) && line == Header()) {
      while (std::getline(file, line)) Read(line);
    }
    std::ofstream out(path_, std::ios::trunc);
    out << Header() << '\n' << kept_;
  }
  bool Has(uint32_t block) const { return done_.contains(block); }
  const std::set<uint32_t>& Done() const { return done_; }
  const Tally& Sum() const { return sum_; }
  void Append(uint32_t block, const Tally& tally) {
    const std::string line = Line(block, tally);
    std::ofstream(path_, std::ios::app) << line << std::flush;
    done_.insert(block);
    sum_.Add(tally);
  }
  // The next run starts from the beginning, so it cannot pass without testing.
  void Close() const { std::filesystem::rename(path_, path_ + ".complete"); }

 private:
  static std::string Header() {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
    uint64_t size = 0;
    for (auto at = std::istreambuf_iterator<char>(file); at != std::istreambuf_iterator<char>();
         ++at, ++size) {
      hash = (hash ^ static_cast<unsigned char>(*at)) * 0x100000001B3;
    }
    EXPECT_GT(size, 0u);
    std::ostringstream text;
    text << "executable " << std::hex << hash;
    return text.str();
  }
  static std::string Line(uint32_t block, const Tally& tally) {
    std::ostringstream line;
    line << block << ' ' << tally.checked << ' ' << tally.wrong << ' ' << tally.asked << ' '
         << tally.cross_checked << ' ' << tally.oracle_wrong << ' ' << tally.core_seconds << ' '
         << tally.hard.size() << ' ' << tally.wrong_inputs.size();
    for (const HardCase& hard : tally.hard) line << ' ' << hard.bits << ' ' << hard.log2_distance;
    for (const uint32_t bits : tally.wrong_inputs) line << ' ' << bits;
    line << " end\n";
    return line.str();
  }
  void Read(const std::string& text) {
    std::istringstream line(text);
    uint32_t block = 0;
    Tally tally;
    size_t hard = 0, wrong = 0;
    line >> block >> tally.checked >> tally.wrong >> tally.asked >> tally.cross_checked >>
        tally.oracle_wrong >> tally.core_seconds >> hard >> wrong;
    if (!line || hard > kBlockInputs || wrong > kBlockInputs) return;
    tally.hard.resize(hard);
    tally.wrong_inputs.resize(wrong);
    for (HardCase& h : tally.hard) line >> h.bits >> h.log2_distance;
    for (uint32_t& bits : tally.wrong_inputs) line >> bits;
    std::string end;
    if (!(line >> end) || end != "end" || block >= kBlocks || Has(block)) return;
    kept_ += text + '\n';
    done_.insert(block);
    sum_.Add(tally);
  }

  std::string path_, kept_;
  std::set<uint32_t> done_;
  Tally sum_;
};

inline double ThreadSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// make_worker() is called once a thread; what it returns is called with each block and gives its
// tally. Fails where a result was wrong, prints the first wrong inputs, the sums and the hardest
// cases.
template <typename MakeWorker>
void SweepAllF32(const std::string& name, const MakeWorker& make_worker) {
  Record record(std::string(BITANCHOR_BUILD_DIR) + "/tests/sweep_" + name + ".txt");
  std::printf("%s: %zu of %u blocks were done before\n", name.c_str(), record.Done().size(),
              kBlocks);
  std::vector<uint32_t> left;
  for (uint32_t block = 0; block < kBlocks; ++block) {
    if (!record.Has(block)) left.push_back(block);
  }
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < std::max(1u, std::thread::hardware_concurrency()); ++n) {
    threads.emplace_back([&] {
      auto worker = make_worker();
      for (size_t at = next++; at < left.size(); at = next++) {
        const double start = ThreadSeconds();
        Tally tally = worker(left[at]);
        tally.core_seconds = ThreadSeconds() - start;
        const std::lock_guard<std::mutex> lock(mutex);
        record.Append(left[at], tally);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  Tally sum = record.Sum();
  EXPECT_EQ(record.Done().size(), size_t{kBlocks});
  EXPECT_EQ(sum.checked, uint64_t{1} << 32);
  EXPECT_EQ(sum.wrong, 0u);
  EXPECT_EQ(sum.oracle_wrong, 0u);
  std::printf(
      "%s: %llu checked, %llu wrong, %llu decided by MPFR itself, %llu cross-checked with "
      "MPFR (%llu wrong), %.0f core-seconds\n",
      name.c_str(), static_cast<unsigned long long>(sum.checked),
      static_cast<unsigned long long>(sum.wrong), static_cast<unsigned long long>(sum.asked),
      static_cast<unsigned long long>(sum.cross_checked),
      static_cast<unsigned long long>(sum.oracle_wrong), sum.core_seconds);
  for (size_t n = 0; n < std::min<size_t>(sum.wrong_inputs.size(), 20); ++n)
    std::printf("  wrong at %08x\n", sum.wrong_inputs[n]);
  std::sort(sum.hard.begin(), sum.hard.end(),
            [](const HardCase& a, const HardCase& b) { return a.log2_distance < b.log2_distance; });
  for (size_t n = 0; n < std::min<size_t>(sum.hard.size(), 40); ++n)
    std::printf("  hard: %08x, 2^%.2f ulp\n", sum.hard[n].bits, sum.hard[n].log2_distance);
  record.Close();
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_NUMBER_SWEEP_H_

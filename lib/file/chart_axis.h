// The axis of a chart: where a value lies, and which ticks say so.
#ifndef BITANCHOR_LIB_FILE_CHART_AXIS_H_
#define BITANCHOR_LIB_FILE_CHART_AXIS_H_

#include <string>
#include <vector>

namespace bitanchor {

struct ChartTick {
  double place = 0;
  std::string label;     // any bytes
  std::string exponent;  // of a power: "10" and "-3"
};

enum class ChartScale {
  kAuto,    // kLog where the values that are not 0 span more than a factor of ten, else kLinear
  kLinear,  //
  kLog,     // 0, if it is there, has a place of its own at the lower end
};

struct ChartAxis {
  std::string label;  // any bytes
  ChartScale scale = ChartScale::kAuto;
  bool from_zero = false;             // if linear
  bool whole = false;                 // of whole numbers: no ticks between
  bool reversed = false;              // ascends to the left, or downwards
  std::vector<ChartTick> ticks = {};  // ascending, if linear 1 apart; empty: they are made
};

// Whether a chart can show the value: it is finite and not negative.
bool CanBeShown(double value);

// An axis with its range.
class ChartRange {
 public:
  // Of the values that can be shown, and the axis's own ticks. If it has none, they are made: round
  // numbers or powers of ten, at most about `most_ticks` >= 2.
  ChartRange(const ChartAxis& axis, const std::vector<double>& values, int most_ticks);

  bool log() const { return log_; }
  // Of a logarithmic axis with a 0: where it is broken, as At says places. Else 0.
  double Break() const;
  const std::vector<ChartTick>& ticks() const { return ticks_; }

  // 0 at the left or lower end of the axis, 1 at the other; of a value that can be shown.
  double At(double value) const;

 private:
  void MakeLog(const ChartAxis& axis, double least, double most, int most_ticks);
  void MakeLinear(const ChartAxis& axis, double least, double most, int most_ticks);

  bool log_ = false, reversed_ = false;
  double low_ = 0, high_ = 1;  // of values, or of their decimal logarithms
  double zero_share_ = 0;      // of the axis, between 0 and low_
  std::vector<ChartTick> ticks_;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_CHART_AXIS_H_

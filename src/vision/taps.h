// Which pixels of an axis make each pixel of a resized one, and with what weights: Pillow's, normalised in
// double and rounded to fixed point.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/kernels.h"

namespace galago::vision {

enum class Filter { bilinear, bicubic, lanczos };

class Taps {
 public:
  /// How an axis changes, and which of its outputs are wanted.
  struct Axis {
    std::int64_t in_size;
    std::int64_t out_size;
    std::int64_t first;  ///< output
    std::int64_t count;  ///< of outputs, 1 at least
  };
  Taps(Filter filter, const Axis& axis);

  std::int64_t size() const { return static_cast<std::int64_t>(firsts_.size()); }
  /// Inputs of output `i`, counted from the first one of all: [first, end).
  std::int64_t first(std::int64_t i) const { return firsts_[static_cast<std::size_t>(i)] - firsts_.front(); }
  std::int64_t end(std::int64_t i) const { return first(i) + counts_[static_cast<std::size_t>(i)]; }
  /// Of such an input, in fixed point; 0 where the output does not reach it.
  std::int32_t weight(std::int64_t i, std::int64_t input) const;
  /// Where the first of all lies on the axis, and how many there are up to the last.
  std::int64_t first_input() const { return firsts_.front(); }
  std::int64_t n_inputs() const { return end(size() - 1); }

 private:
  std::vector<std::int32_t> firsts_, counts_;
  std::int64_t stride_ = 0;
  std::vector<std::int32_t> weights_;  // [size, stride]
};

/// Taps as kernels take them: inputs counted from the first one wanted, weights in two parts.
class SplitTaps {
 public:
  SplitTaps(Filter filter, const Taps::Axis& axis);

  std::int64_t first_input() const { return first_input_; }
  std::int64_t n_inputs() const { return n_inputs_; }
  kernels::Taps view() const {
    return {firsts_.data(), counts_.data(), weights_.data(), stride_,
            static_cast<std::int64_t>(firsts_.size())};
  }

 private:
  std::int64_t first_input_, n_inputs_, stride_;
  std::vector<std::int32_t> firsts_, counts_;
  std::vector<std::int16_t> weights_;
};

}  // namespace galago::vision

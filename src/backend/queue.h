// The queue that work is handed to, with its costs: in plan mode they are added up, in run mode the work is
// done too.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

#include "memory/phase.h"
#include "memory/region.h"

namespace galago::backend {

/// What one piece of work must do at least: the inputs of a roofline estimate (Williams et al., 2009).
struct Cost {
  double flops = 0;
  Bytes bytes_read = 0;
  Bytes bytes_written = 0;
};

enum class Op {
  linear,
  gated_linear,
  layer_norm,
  rms_norm,
  unfold_patches,
  tower_embed,
  token_embed,
  rope,
  append_kv,
  attend_tile,
  attend_pages,
  pixel_shuffle,
  add_scaled,
};
inline constexpr std::size_t n_ops = 13;

using memory::n_phases;
using memory::Phase;

std::string_view name_of(Op op);

/// Costs by phase and op. The sums of a plan and of the run it planned are equal.
struct Ledger {
  std::array<std::array<Cost, n_ops>, n_phases> costs{};

  void add(Phase phase, Op op, const Cost& cost);
  Cost total(Phase phase) const;
};

class Queue {
 public:
  explicit Queue(memory::Mode mode) : mode_(mode) {}

  /// Accounts for the work and, in run mode, does it before returning (a device queue may return earlier).
  template <class Work>
  void submit(Op op, const Cost& cost, Work&& work) {
    ledger_.add(phase_, op, cost);
    if (mode_ == memory::Mode::run) std::forward<Work>(work)();
  }

  void enter(Phase phase) { phase_ = phase; }
  Phase phase() const { return phase_; }
  const Ledger& ledger() const { return ledger_; }

 private:
  memory::Mode mode_;
  Phase phase_ = Phase::load;
  Ledger ledger_;
};

}  // namespace galago::backend

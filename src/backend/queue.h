// The queue that work is handed to, with its costs: in plan mode they are added up, in run mode the work is
// done too.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
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

  Cost& operator+=(const Cost& other);
};

enum class Op {
  linear,
  gated_linear,
  linear_int8,  ///< with activations rounded to int8
  gated_linear_int8,
  linear_bf16,  ///< with activations, and wider weights, rounded to BF16
  gated_linear_bf16,
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
  hand_over,  ///< from one device to the next
  choose,     ///< of tokens from logits
};
inline constexpr std::size_t n_ops = 19;

using memory::n_phases;
using memory::Phase;

std::string_view name_of(Op op);

/// Costs by phase and op. The sums of a plan and of the run it planned are equal.
struct Ledger {
  std::array<std::array<Cost, n_ops>, n_phases> costs{};

  void add(Phase phase, Op op, const Cost& cost);
  Cost total(Phase phase) const;

  Ledger& operator+=(const Ledger& other);
};

/// What the pieces of work of one kind took together.
struct OpTime {
  std::uint64_t calls = 0;
  double seconds = 0;
  Cost cost;

  OpTime& operator+=(const OpTime& other);
};

/// By phase and op.
using OpTimes = std::array<std::array<OpTime, n_ops>, n_phases>;

class Queue {
 public:
  explicit Queue(memory::Mode mode) : mode_(mode) {}

  /// Accounts for the work and, in run mode, does it before returning (a device queue may return earlier).
  template <class Work>
  void submit(Op op, const Cost& cost, Work&& work) {
    if (part_ != Part::work) ledger_.add(phase_, op, cost);
    if (mode_ == memory::Mode::plan || part_ == Part::costs) return;
    if (!finish_) {
      std::forward<Work>(work)();
      return;
    }
    const auto start = std::chrono::steady_clock::now();
    std::forward<Work>(work)();
    finish_();
    add_time(op, cost, start);
  }

  /// From now on every piece of work is timed, what was timed before forgotten. `finish` returns when a
  /// device has done what it was handed, so that work no longer overlaps there.
  void time_ops(std::function<void()> finish) {
    finish_ = std::move(finish);
    times_ = {};
  }
  const OpTimes& op_times() const { return times_; }
  bool is_timed() const { return static_cast<bool>(finish_); }
  memory::Mode mode() const { return mode_; }

  /// Work that is recorded is not done yet, and work that is repeated was handed in before: there costs and
  /// work go apart.
  enum class Part { both, costs, work };
  class OnlyPart {
   public:
    OnlyPart(Queue& queue, Part part) : queue_(queue) { queue_.part_ = part; }
    ~OnlyPart() { queue_.part_ = Part::both; }
    OnlyPart(const OnlyPart&) = delete;
    OnlyPart& operator=(const OnlyPart&) = delete;

   private:
    Queue& queue_;
  };

  void enter(Phase phase) { phase_ = phase; }
  Phase phase() const { return phase_; }
  const Ledger& ledger() const { return ledger_; }

 private:
  void add_time(Op op, const Cost& cost, std::chrono::steady_clock::time_point start);

  memory::Mode mode_;
  Part part_ = Part::both;
  Phase phase_ = Phase::load;
  Ledger ledger_;
  std::function<void()> finish_;  // empty: nothing is timed
  OpTimes times_{};
};

}  // namespace galago::backend

#include "backend/queue.h"

namespace galago::backend {

Cost& Cost::operator+=(const Cost& other) {
  flops += other.flops;
  bytes_read += other.bytes_read;
  bytes_written += other.bytes_written;
  return *this;
}

std::string_view name_of(Op op) {
  switch (op) {
    case Op::linear:
      return "linear";
    case Op::gated_linear:
      return "gated_linear";
    case Op::linear_int8:
      return "linear_int8";
    case Op::gated_linear_int8:
      return "gated_linear_int8";
    case Op::linear_bf16:
      return "linear_bf16";
    case Op::gated_linear_bf16:
      return "gated_linear_bf16";
    case Op::layer_norm:
      return "layer_norm";
    case Op::rms_norm:
      return "rms_norm";
    case Op::unfold_patches:
      return "unfold_patches";
    case Op::tower_embed:
      return "tower_embed";
    case Op::token_embed:
      return "token_embed";
    case Op::rope:
      return "rope";
    case Op::append_kv:
      return "append_kv";
    case Op::attend_tile:
      return "attend_tile";
    case Op::attend_pages:
      return "attend_pages";
    case Op::pixel_shuffle:
      return "pixel_shuffle";
    case Op::add_scaled:
      return "add_scaled";
    case Op::hand_over:
      return "hand_over";
    case Op::choose:
      return "choose";
  }
  return "?";
}

void Ledger::add(Phase phase, Op op, const Cost& cost) {
  costs[static_cast<std::size_t>(phase)][static_cast<std::size_t>(op)] += cost;
}

Cost Ledger::total(Phase phase) const {
  Cost sum;
  for (const Cost& cost : costs[static_cast<std::size_t>(phase)]) sum += cost;
  return sum;
}

Ledger& Ledger::operator+=(const Ledger& other) {
  for (std::size_t phase = 0; phase < n_phases; ++phase) {
    for (std::size_t op = 0; op < n_ops; ++op) costs[phase][op] += other.costs[phase][op];
  }
  return *this;
}

OpTime& OpTime::operator+=(const OpTime& other) {
  calls += other.calls;
  seconds += other.seconds;
  cost += other.cost;
  return *this;
}

void Queue::add_time(Op op, const Cost& cost, std::chrono::steady_clock::time_point start) {
  OpTime& sum = times_[static_cast<std::size_t>(phase_)][static_cast<std::size_t>(op)];
  ++sum.calls;
  sum.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  sum.cost += cost;
}

}  // namespace galago::backend

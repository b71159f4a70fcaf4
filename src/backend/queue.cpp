#include "backend/queue.h"

namespace galago::backend {

std::string_view name_of(Op op) {
  switch (op) {
    case Op::linear:
      return "linear";
    case Op::gated_linear:
      return "gated_linear";
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
  }
  return "?";
}

void Ledger::add(Phase phase, Op op, const Cost& cost) {
  Cost& sum = costs[static_cast<std::size_t>(phase)][static_cast<std::size_t>(op)];
  sum.flops += cost.flops;
  sum.bytes_read += cost.bytes_read;
  sum.bytes_written += cost.bytes_written;
}

Cost Ledger::total(Phase phase) const {
  Cost sum;
  for (const Cost& cost : costs[static_cast<std::size_t>(phase)]) {
    sum.flops += cost.flops;
    sum.bytes_read += cost.bytes_read;
    sum.bytes_written += cost.bytes_written;
  }
  return sum;
}

}  // namespace galago::backend

// Tokens are chosen from logits, as kernels/sampling.h says.
#include <algorithm>
#include <functional>
#include <numeric>

#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {
namespace {

using memory::RegionId;

/// The first of the weights with which their sum reaches `least`; the last where none does.
std::size_t reaching(std::span<const std::uint64_t> weights, std::uint64_t least) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (sum >= least) return i;
  }
  return weights.size() - 1;
}

std::uint64_t sum_of(std::span<const std::uint64_t> weights) {
  return std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
}

/// A token drawn from `orders`, which it sorts; `weights` has as many numbers.
std::int32_t draw(const kernels::Choice& how, std::span<std::uint64_t> orders,
                  std::span<std::uint64_t> weights) {
  const auto all = orders.size();
  const auto n = how.top_k > 0 ? std::min(all, static_cast<std::size_t>(how.top_k)) : all;
  std::partial_sort(orders.begin(), orders.begin() + static_cast<std::ptrdiff_t>(n), orders.end(),
                    std::greater<>());
  const float largest = kernels::logit_in(orders.front());
  if (!kernels::is_finite(largest)) return kernels::token_in(orders.front());
  weights = weights.first(n);
  std::transform(
      orders.begin(), orders.begin() + static_cast<std::ptrdiff_t>(n), weights.begin(),
      [&](std::uint64_t order) { return kernels::weight_of(kernels::logit_in(order), largest, how.scale); });
  const std::uint64_t sum = sum_of(weights);
  std::uint64_t kept = sum;
  if (how.top_p > 0) {
    kept = sum_of(weights.first(1 + reaching(weights, kernels::nucleus_of(how.top_p, sum))));
  }
  if (how.least_weight > 0) {
    const auto end = std::find_if(weights.begin(), weights.end(),
                                  [&](std::uint64_t weight) { return weight < how.least_weight; });
    kept = std::min(kept, std::accumulate(weights.begin(), end, std::uint64_t{0}));
  }
  return kernels::token_in(orders[reaching(weights, kernels::drawn_weight(how.random, kept))]);
}

}  // namespace

void CpuBackend::choose(Execution& exec, const Matrix& logits, std::span<const TokenChoice> choices,
                        std::span<std::int32_t> tokens) {
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const auto n = static_cast<std::size_t>(logits.cols);
  auto* const orders = exec.arena.array<std::uint64_t>(RegionId::activations, logits.cols);
  auto* const weights = exec.arena.array<std::uint64_t>(RegionId::activations, logits.cols);
  exec.queue.submit(Op::choose, costs::choose(logits), [&] {
    for (std::size_t row = 0; row < choices.size(); ++row) {
      const TokenChoice& choice = choices[row];
      const kernels::Choice how = kernel_choice(choice);
      const float* const from = logits.row(static_cast<std::int64_t>(row));
      const auto order = [&](std::size_t i) {
        const bool said = how.penalty != 1 && was_said(choice.said, i);
        return kernels::order_of(said ? kernels::penalised(from[i], how.penalty) : from[i],
                                 static_cast<std::uint32_t>(i));
      };
      if (how.scale == 0) {
        std::uint64_t first = 0;
        for (std::size_t i = 0; i < n; ++i) first = std::max(first, order(i));
        tokens[row] = kernels::token_in(first);
        continue;
      }
      for (std::size_t i = 0; i < n; ++i) orders[i] = order(i);
      tokens[row] = draw(how, {orders, n}, {weights, n});
    }
  });
}

}  // namespace galago::backend

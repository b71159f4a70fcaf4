#include "runtime/plan/attention_window.h"

#include <algorithm>

#include "base/fail.h"

namespace galago::runtime {
namespace {

// As many as streaming needed in arXiv:2309.17453; fewer cost much, more gain little.
constexpr std::int64_t usual_sinks = 4;

}  // namespace

void limit_windows(const EngineOptions& options, model::DecoderShape& decoder) {
  if (options.window < 0) {
    fail(ErrorCode::usage, "a window of {} positions was asked for, expected 1 or more", options.window);
  }
  const std::int64_t sinks = options.sinks.value_or(usual_sinks);
  if (sinks < 0) fail(ErrorCode::usage, "{} attention sinks were asked for, expected 0 or more", sinks);
  if (options.window == 0) {
    if (!options.sinks) return;
    fail(ErrorCode::usage, "{} attention sinks were asked for without a window; ask for one (--window) too",
         sinks);
  }
  // No sequence is longer than the model's positions, so neither need be.
  const std::int64_t window = std::min(options.window, decoder.max_context);
  decoder.sinks = std::min(sinks, decoder.max_context);
  for (std::int64_t& own : decoder.windows) own = own > 0 ? std::min(own, window) : window;
}

std::int64_t widest_window(const model::DecoderShape& decoder) {
  const auto [least, most] = std::minmax_element(decoder.windows.begin(), decoder.windows.end());
  return decoder.windows.empty() || *least == 0 ? 0 : *most;
}

}  // namespace galago::runtime

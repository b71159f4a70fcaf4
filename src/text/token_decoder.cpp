#include "text/token_decoder.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "text/byte_level.h"
#include "text/unicode.h"

namespace galago::text {
namespace {

/// The byte of "<0x41>".
std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  unsigned value = 0;
  const char* end = token.data() + 5;
  const auto [stop, error] = std::from_chars(token.data() + 3, end, value, 16);
  if (error != std::errc() || stop != end) return std::nullopt;
  return static_cast<char>(value);
}

bool is_fused(const std::vector<DecodeStep>& steps, std::size_t step) {
  return std::any_of(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(step),
                     [](const DecodeStep& before) { return std::holds_alternative<FuseStep>(before); });
}

}  // namespace

std::string DecodeStream::append(std::string_view token) {
  std::string text;
  run(0, std::string(token), text);
  return text;
}

std::string DecodeStream::finish() {
  std::string text;
  for (std::size_t step = 0; step < steps_->size(); ++step) {
    State& state = states_[step];
    if (state.held.empty()) continue;
    if (std::holds_alternative<ByteFallbackStep>((*steps_)[step])) {
      release_bytes(step, text);
    } else {
      std::string rest = to_utf8(state.held);
      state.held.clear();
      run(step + 1, std::move(rest), text);
    }
  }
  return text;
}

void DecodeStream::run(std::size_t step, std::string token, std::string& text) {
  for (; step < steps_->size(); ++step) {
    const DecodeStep& kind = (*steps_)[step];
    if (const auto* replace = std::get_if<ReplaceStep>(&kind)) {
      replace_all(token, replace->pattern, replace->content);
    } else if (std::holds_alternative<ByteFallbackStep>(kind)) {
      if (run_byte_fallback(step, token, text)) return;
    } else if (const auto* stripped = std::get_if<StripStep>(&kind)) {
      strip(step, *stripped, token);
    } else if (std::holds_alternative<ByteLevelStep>(kind)) {
      byte_level(states_[step], token);
    } else if (const auto* mark = std::get_if<MetaspaceStep>(&kind)) {
      metaspace(states_[step], *mark, token);
    }
  }
  text += token;
}

/// True where the token was a byte, kept until its run is whole.
bool DecodeStream::run_byte_fallback(std::size_t step, const std::string& token, std::string& text) {
  const std::optional<char> byte = byte_of(token);
  if (byte) {
    states_[step].held += *byte;
    return true;
  }
  release_bytes(step, text);
  return false;
}

void DecodeStream::release_bytes(std::size_t step, std::string& text) {
  std::string bytes = std::move(states_[step].held);
  states_[step].held.clear();
  if (bytes.empty()) return;
  if (is_utf8(bytes)) {
    run(step + 1, std::move(bytes), text);
  } else {
    for (std::size_t i = 0; i < bytes.size(); ++i) run(step + 1, "\xEF\xBF\xBD", text);
  }
}

void DecodeStream::strip(std::size_t step, const StripStep& strip, std::string& token) {
  State& state = states_[step];
  if (!is_fused(*steps_, step)) state = {};
  while (!state.begun && state.taken < strip.start && token.starts_with(strip.content)) {
    token.erase(0, strip.content.size());
    ++state.taken;
  }
  if (!token.empty()) state.begun = true;
}

void DecodeStream::byte_level(State& state, std::string& token) {
  state.held += characters_to_bytes(token).value_or(token);
  const std::size_t whole = state.held.size() - cut_off_bytes(state.held);
  token = to_utf8(std::string_view(state.held).substr(0, whole));
  state.held.erase(0, whole);
}

void DecodeStream::metaspace(State& state, const MetaspaceStep& step, std::string& token) {
  replace_all(token, step.replacement, step.strip_first && !state.begun ? "" : " ");
  state.begun = true;
}

}  // namespace galago::text

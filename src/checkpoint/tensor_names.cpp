// Names are looked up as they are, then with one number in them read as the layer's.
#include "checkpoint/tensor_names.h"

#include <algorithm>
#include <charconv>

namespace galago::checkpoint {
namespace {

constexpr std::string_view layer_mark = "{i}";

/// A decimal number without leading zeros, so that a layer has one spelling.
std::optional<std::int64_t> layer_number(std::string_view text) {
  if (text.empty() || text.size() > 6 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

}  // namespace

std::optional<CanonicalName> canonical_name(const Family& family, const std::string& source) {
  const auto literal = family.tensors.find(source);
  if (literal != family.tensors.end()) return CanonicalName{literal->second, std::nullopt};

  for (std::size_t start = 0; start < source.size();) {
    const std::size_t end = std::min(source.find('.', start), source.size());
    const auto layer = layer_number(std::string_view(source).substr(start, end - start));
    if (layer) {
      const auto found =
          family.tensors.find(source.substr(0, start) + std::string(layer_mark) + source.substr(end));
      if (found != family.tensors.end()) {
        std::string name = found->second;
        name.replace(name.find(layer_mark), layer_mark.size(), std::to_string(*layer));
        return CanonicalName{std::move(name), layer};
      }
    }
    start = end + 1;
  }
  return std::nullopt;
}

bool matches_pattern(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = pattern.npos;  // the last '*' seen, and where its run ends at present
  std::size_t run_end = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      run_end = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++run_end;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::optional<std::string> reason_to_ignore(const Family& family, std::string_view source) {
  for (const auto& [pattern, reason] : family.ignore) {
    if (matches_pattern(pattern, source)) return reason;
  }
  return std::nullopt;
}

std::optional<std::string> reason_unused(const Family& family, const CanonicalName& tensor,
                                         const Json& config) {
  for (const UnusedRule& rule : family.unused) {
    if (!matches_pattern(rule.tensor, tensor.name)) continue;
    if (!rule.when.empty() && *find_json(config, rule.when) != true) continue;
    if (!rule.beyond.empty() &&
        (!tensor.layer || *tensor.layer < find_json(config, rule.beyond)->get<std::int64_t>())) {
      continue;
    }
    return rule.because;
  }
  return std::nullopt;
}

}  // namespace galago::checkpoint

// Names are looked up as they are, then with one number in them read as the layer's.
#include "checkpoint/tensor_names.h"

#include <algorithm>
#include <charconv>

#include "base/fail.h"
#include "base/printable.h"

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

template <class Rule>
struct Match {
  const Rule* rule = nullptr;  // null: no rule has the name
  std::optional<std::int64_t> layer;
};

/// The rule for a name as it is, or with one number in it read as the layer's.
template <class Rule>
Match<Rule> find_rule(const std::map<std::string, Rule>& rules, const std::string& source) {
  const auto literal = rules.find(source);
  if (literal != rules.end()) return {&literal->second, std::nullopt};
  for (std::size_t start = 0; start < source.size();) {
    const std::size_t end = std::min(source.find('.', start), source.size());
    if (const auto layer = layer_number(std::string_view(source).substr(start, end - start))) {
      std::string pattern = source.substr(0, start);
      pattern.append(layer_mark).append(source, end);
      const auto found = rules.find(pattern);
      if (found != rules.end()) return {&found->second, layer};
    }
    start = end + 1;
  }
  return {};
}

CanonicalName with_layer(std::string name, std::optional<std::int64_t> layer) {
  if (layer) name.replace(name.find(layer_mark), layer_mark.size(), std::to_string(*layer));
  return {std::move(name), layer};
}

std::int64_t product(const std::vector<std::string>& keys, const Json& config) {
  std::int64_t result = 1;
  for (const std::string& key : keys) result *= find_json(config, key)->get<std::int64_t>();
  return result;
}

/// The rows of a run in order, or head by head, first half before second, where a head's halves are stored in
/// turns.
void add_rows(TensorSource& source, const RowRun& run, std::int64_t head) {
  if (head < 2 || head % 2 != 0 || run.count % head != 0) {
    source.rows.push_back(run);
    return;
  }
  for (std::int64_t first = run.first; first < run.first + run.count; first += head) {
    source.rows.push_back({first, head / 2, 2});
    source.rows.push_back({first + 1, head / 2, 2});
  }
}

std::vector<CanonicalTensor> split_rows(const Match<SplitRule>& match, const TensorSource& stored,
                                        const Json& config, const std::string& file) {
  const std::int64_t groups = match.rule->groups.empty() ? 1 : product({match.rule->groups}, config);
  std::vector<std::int64_t> shares;  // rows of each part in one group
  std::int64_t total = 0;
  for (const SplitRule::Part& part : match.rule->parts) {
    const std::int64_t rows = product(part.rows, config);
    if (rows % groups != 0) {
      fail(ErrorCode::model, "{}: tensor {} holds {} rows of {} in {} groups, which do not divide them", file,
           printable(stored.entry.name), rows, with_layer(part.tensor, match.layer).name, groups);
    }
    shares.push_back(rows / groups);
    total += rows;
  }
  const Shape& shape = stored.entry.shape;
  if (shape.rank() == 0 || shape[0] != total) {
    fail(ErrorCode::model, "{}: tensor {} has shape {}, the configuration asks for {} rows", file,
         printable(stored.entry.name), shape.to_string(), total);
  }
  const std::string& halves = match.rule->halves_in_turns;
  const std::int64_t head = halves.empty() ? 0 : product({halves}, config);
  std::vector<CanonicalTensor> tensors;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    CanonicalTensor tensor{with_layer(match.rule->parts[i].tensor, match.layer), stored};
    tensor.source.shape = {shares[i] * groups};
    for (std::size_t d = 1; d < shape.rank(); ++d) tensor.source.shape.append(shape[d]);
    for (std::int64_t group = 0; group < groups; ++group) {
      add_rows(tensor.source, {group * (total / groups) + first, shares[i]}, head);
    }
    first += shares[i];
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

/// The reason of the first pattern that the name matches.
std::optional<std::string> reason_of(const std::map<std::string, std::string>& reasons,
                                     std::string_view name) {
  for (const auto& [pattern, reason] : reasons) {
    if (matches_pattern(pattern, name)) return reason;
  }
  return std::nullopt;
}

}  // namespace

std::vector<CanonicalTensor> canonical_tensors(const Family& family, const TensorSource& stored,
                                               const Json& config, const std::string& file) {
  const std::string& name = stored.entry.name;
  if (const auto whole = find_rule(family.tensors, name); whole.rule) {
    return {{with_layer(*whole.rule, whole.layer), stored}};
  }
  const auto split = find_rule(family.split, name);
  return split.rule ? split_rows(split, stored, config, file) : std::vector<CanonicalTensor>{};
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
  return reason_of(family.ignore, source);
}

std::optional<std::string> reason_to_refuse(const Family& family, std::string_view source) {
  return reason_of(family.refuse, source);
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

#include "text/bpe.h"

#include <fmt/format.h>

#include <queue>

#include "text/unicode.h"

namespace galago::text {
namespace {

constexpr std::int32_t no_id = -1;
constexpr std::ptrdiff_t none = -1;

/// A part of the word that is one token so far; linked, so that merging is O(1).
struct Symbol {
  std::string_view text;  // empty: merged into the one before it
  std::int32_t id = no_id;
  std::ptrdiff_t previous = none;
  std::ptrdiff_t next = none;
};

struct Candidate {
  double priority = 0;
  std::ptrdiff_t left = 0;
  std::ptrdiff_t right = 0;
  std::size_t length = 0;  // of both texts: another one now means the candidate is out of date
  std::int32_t id = no_id;

  /// std::priority_queue gives the greatest first: high priority, and of equals the leftmost.
  bool operator<(const Candidate& other) const {
    return priority != other.priority ? priority < other.priority : left > other.left;
  }
};

struct Offer {
  double priority = 0;
  std::int32_t id = no_id;
};

class Merger {
 public:
  Merger(const BpeModel& model, std::vector<Symbol>& symbols) : model_(model), symbols_(symbols) {}

  void run() {
    for (std::size_t i = 0; i < symbols_.size(); ++i) {
      const auto at = static_cast<std::ptrdiff_t>(i);
      symbols_[i].previous = at - 1;
      symbols_[i].next = i + 1 < symbols_.size() ? at + 1 : none;
    }
    for (std::size_t i = 1; i < symbols_.size(); ++i) offer(static_cast<std::ptrdiff_t>(i) - 1);
    while (!candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      if (is_current(best)) merge(best);
    }
  }

 private:
  Symbol& at(std::ptrdiff_t i) { return symbols_[static_cast<std::size_t>(i)]; }

  bool is_current(const Candidate& candidate) {
    const Symbol& left = at(candidate.left);
    const Symbol& right = at(candidate.right);
    return !left.text.empty() && !right.text.empty() && left.next == candidate.right &&
           left.text.size() + right.text.size() == candidate.length;
  }

  void merge(const Candidate& candidate) {
    Symbol& left = at(candidate.left);
    Symbol& right = at(candidate.right);
    left.text = {left.text.data(), candidate.length};
    left.id = candidate.id;
    left.next = right.next;
    right.text = {};
    if (left.next != none) at(left.next).previous = candidate.left;
    if (left.previous != none) offer(left.previous);
    if (left.next != none) offer(candidate.left);
  }

  /// Queues the pair that begins at `i` if it can be merged.
  void offer(std::ptrdiff_t i) {
    const Symbol& left = at(i);
    const Symbol& right = at(left.next);
    const std::optional<Offer> found = find(left, right);
    if (!found) return;
    candidates_.push({found->priority, i, left.next, left.text.size() + right.text.size(), found->id});
  }

  std::optional<Offer> find(const Symbol& left, const Symbol& right) const {
    if (const auto* ranked = std::get_if<RankedMerges>(&model_.merges)) {
      const std::optional<RankedMerges::Merge> merge = ranked->find(left.id, right.id);
      if (!merge) return std::nullopt;
      return Offer{-static_cast<double>(merge->rank), merge->id};
    }
    const std::string_view both(left.text.data(), left.text.size() + right.text.size());
    const std::optional<std::int32_t> id = model_.vocabulary.find(both);
    if (!id) return std::nullopt;
    const std::optional<float> score =
        std::get<ScoredPieces>(model_.merges).scores[static_cast<std::size_t>(*id)];
    if (!score) return std::nullopt;
    return Offer{*score, *id};
  }

  const BpeModel& model_;
  std::vector<Symbol>& symbols_;
  std::priority_queue<Candidate> candidates_;
};

/// The tokens of a character's bytes; empty where one of them is missing.
std::vector<std::int32_t> byte_tokens(const Vocabulary& vocabulary, std::string_view character) {
  std::vector<std::int32_t> ids;
  for (const char byte : character) {
    const auto id = vocabulary.find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte)));
    if (!id) return {};
    ids.push_back(*id);
  }
  return ids;
}

/// One symbol a character or byte.
class Splitter {
 public:
  explicit Splitter(const BpeModel& model) : model_(model) {}

  std::vector<Symbol> run(std::string_view word) {
    while (!word.empty()) {
      const std::string_view text = word.substr(0, utf8_head(word).length);
      if (const auto id = model_.vocabulary.find(text)) {
        push(text, *id);
      } else {
        push_unknown(text);
      }
      word.remove_prefix(text.size());
    }
    return std::move(symbols_);
  }

 private:
  void push(std::string_view text, std::int32_t id) { symbols_.push_back({text, id}); }

  void push_unknown(std::string_view text) {
    if (std::holds_alternative<ScoredPieces>(model_.merges)) {
      push(text, no_id);  // may still be merged into a piece
      return;
    }
    const auto bytes =
        model_.byte_fallback ? byte_tokens(model_.vocabulary, text) : std::vector<std::int32_t>();
    for (std::size_t i = 0; i < bytes.size(); ++i) push(text.substr(i, 1), bytes[i]);
    if (!bytes.empty() || !model_.unknown) return;
    if (model_.fuse_unknown && !symbols_.empty() && symbols_.back().id == *model_.unknown) {
      Symbol& last = symbols_.back();
      last.text = {last.text.data(), last.text.size() + text.size()};
    } else {
      push(text, *model_.unknown);
    }
  }

  const BpeModel& model_;
  std::vector<Symbol> symbols_;
};

}  // namespace

std::optional<RankedMerges::Merge> RankedMerges::find(std::int32_t left, std::int32_t right) const {
  const auto found = merges_.find(key(left, right));
  return found == merges_.end() ? std::nullopt : std::optional<Merge>(found->second);
}

void BpeModel::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (ignore_merges) {
    if (const auto id = vocabulary.find(word)) {
      ids.push_back(*id);
      return;
    }
  }
  std::vector<Symbol> symbols = Splitter(*this).run(word);
  Merger(*this, symbols).run();
  bool after_unknown = false;
  for (const Symbol& symbol : symbols) {
    if (symbol.text.empty()) continue;
    if (symbol.id != no_id) {
      ids.push_back(symbol.id);
      after_unknown = false;
      continue;
    }
    const auto bytes = byte_fallback ? byte_tokens(vocabulary, symbol.text) : std::vector<std::int32_t>();
    ids.insert(ids.end(), bytes.begin(), bytes.end());
    if (bytes.empty() && unknown && !(fuse_unknown && after_unknown)) ids.push_back(*unknown);
    after_unknown = bytes.empty();
  }
}

}  // namespace galago::text

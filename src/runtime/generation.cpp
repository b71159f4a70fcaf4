#include "runtime/generation.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "base/fail.h"
#include "runtime/adapters.h"
#include "runtime/stop_strings.h"
#include "text/stream_decoder.h"

namespace galago::runtime {
namespace {

/// Adds the time from its construction to its destruction.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds), start_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_;
};

std::span<const float> last_row(const Matrix& logits) {
  return {logits.row(logits.rows - 1), static_cast<std::size_t>(logits.cols)};
}

/// The growing answer: tokens to whole characters to what no stop string can swallow any more.
class Answer {
 public:
  Answer(const text::Tokenizer& tokenizer, std::vector<std::string> stops, const OnText& on_text)
      : decoder_(tokenizer), stops_(std::move(stops)), on_text_(on_text) {}

  void append(std::int32_t token) { show(stops_.append(decoder_.append(token))); }
  void finish() {
    if (!stops_.found()) show(stops_.append(decoder_.finish()));
    if (!stops_.found()) show(stops_.finish());
  }

  bool stop_string_found() const { return stops_.found(); }
  bool stopped_by_caller() const { return stopped_; }
  const std::string& text() const { return text_; }

 private:
  void show(const std::string& piece) {
    if (piece.empty()) return;
    text_ += piece;
    if (on_text_ && !stopped_ && !on_text_(piece)) stopped_ = true;
  }

  text::StreamDecoder decoder_;
  StopStrings stops_;
  const OnText& on_text_;
  std::string text_;
  bool stopped_ = false;
};

TraceTensor floats(std::string name, std::vector<std::int64_t> shape, std::vector<float> values) {
  return {std::move(name), std::move(shape), std::move(values), {}};
}

TraceTensor integers(std::string name, const std::vector<std::int32_t>& values) {
  return {std::move(name), {static_cast<std::int64_t>(values.size())}, {}, {values.begin(), values.end()}};
}

void append_rows(const Matrix& from, std::vector<float>& to) {
  for (std::int64_t i = 0; i < from.rows; ++i) to.insert(to.end(), from.row(i), from.row(i) + from.cols);
}

}  // namespace

Generation::Generation(const ModelFiles& files, Executor& executor)
    : files_(files),
      executor_(executor),
      pool_(executor.configuration().n_pages()),
      sequence_(pool_, executor.configuration().page_tokens, executor.configuration().context) {
  step_ids_.reserve(static_cast<std::size_t>(executor.configuration().prefill_chunk));
}

void Generation::check_size(const Prompt& prompt) const {
  const std::int64_t most_tiles = executor_.configuration().picture.n_tiles;
  for (const PictureRows& rows : prompt.pictures) {
    if (rows.layout.n_tiles <= most_tiles) continue;
    fail(ErrorCode::input,
         "a picture of {}x{} pixels has {} tiles, the model was loaded for pictures of at most {}",
         rows.picture->width(), rows.picture->height(), rows.layout.n_tiles, most_tiles);
  }
  const auto n_pictures = static_cast<std::int64_t>(prompt.pictures.size());
  if (tower_staged() && n_pictures > executor_.configuration().kept_pictures) {
    fail(ErrorCode::input,
         "the request has {} pictures, the model was loaded for {} at once: its tower leaves after encoding",
         n_pictures, executor_.configuration().kept_pictures);
  }
  const std::int64_t context = executor_.configuration().context;
  if (prompt.length() >= context) {
    fail(ErrorCode::input,
         "the prompt has {} tokens, the context of {} leaves no room for an answer; ask for a larger "
         "--context (the model's limit is {})",
         prompt.length(), context, files_.description.decoder.max_context);
  }
}

bool Generation::choose_adapter(const Request& request) {
  const auto adapter = adapter_of(files_.description.decoder, request);
  const bool same = adapter == adapter_;
  adapter_ = adapter;
  executor_.use_adapter(adapter);
  return same;
}

std::int64_t Generation::reusable(const Prompt& prompt) const {
  // The last position is always computed: its logits are needed.
  const std::int64_t cached = std::min(sequence_.common_prefix(prompt.keys), prompt.length() - 1);
  if (!tower_staged()) return cached;
  const bool sees_again = std::any_of(prompt.pictures.begin(), prompt.pictures.end(),
                                      [&](const PictureRows& rows) { return rows.end() > cached; });
  return sees_again ? 0 : cached;
}

void Generation::reserve_answer(Prompt& prompt) const {
  const auto context = static_cast<std::size_t>(executor_.configuration().context);
  prompt.ids.reserve(context);
  prompt.keys.reserve(context);
}

std::int64_t Generation::chunk_end(const Prompt& prompt, std::int64_t from) const {
  std::int64_t end = std::min(prompt.length(), from + executor_.configuration().prefill_chunk);
  bool seen = false;
  for (const PictureRows& rows : prompt.pictures) {
    if (rows.end() <= from) continue;
    if (seen) end = std::min(end, std::max(rows.first, from));
    seen = true;
  }
  return end;
}

void Generation::see(const PictureRows& rows, std::int64_t slot, Timing& timing,
                     const StageObserver& on_stage) {
  double preprocess_seconds = 0;
  const auto fill = [&](std::int64_t first, std::int64_t count, std::span<float> pixels) {
    const Stopwatch stopwatch(preprocess_seconds);
    const std::size_t n_values = pixels.size() / static_cast<std::size_t>(count);
    for (std::int64_t tile = 0; tile < count; ++tile) {
      vision::process_tile(*rows.picture, *files_.image, first + tile,
                           pixels.subspan(static_cast<std::size_t>(tile) * n_values, n_values));
    }
  };
  {
    const Stopwatch stopwatch(timing.encode_seconds);
    executor_.encode(rows.layout.n_tiles, fill, on_stage, slot);
  }
  timing.encode_seconds -= preprocess_seconds;
  timing.preprocess_seconds += preprocess_seconds;
  if (!on_stage) return;
  executor_.show_embeddings(slot, rows.layout.rows, on_stage);
}

std::span<const float> Generation::prefill(const Prompt& prompt, std::int64_t from, Timing& timing,
                                           const Observers& observers) {
  Matrix logits;
  rope_length_ = prompt.length();
  const PictureRows* encoded = nullptr;
  const auto slot_of = [&](const PictureRows& rows) {
    return tower_staged() ? &rows - prompt.pictures.data() : 0;
  };
  if (tower_staged() && from == 0) {
    // All at once: when the tower comes back, keys and values are gone.
    for (const PictureRows& rows : prompt.pictures) see(rows, slot_of(rows), timing, observers.on_stage);
  }
  for (std::int64_t begin = from, end = 0; begin < prompt.length(); begin = end) {
    end = chunk_end(prompt, begin);
    step_ids_.assign(prompt.ids.begin() + begin, prompt.ids.begin() + end);
    for (const PictureRows& rows : prompt.pictures) {
      if (rows.end() <= begin || rows.first >= end) continue;
      if (encoded != &rows && !tower_staged()) see(rows, slot_of(rows), timing, observers.on_stage);
      encoded = &rows;
      const std::int64_t first_row = executor_.first_row(slot_of(rows));
      for (std::int64_t i = std::max(begin, rows.first); i < std::min(end, rows.end()); ++i) {
        step_ids_[static_cast<std::size_t>(i - begin)] = static_cast<std::int32_t>(
            -1 - first_row - rows.layout.rows[static_cast<std::size_t>(i - rows.first)]);
      }
    }
    const Stopwatch stopwatch(timing.prefill_seconds);
    sequence_.append(std::span(prompt.keys)
                         .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    const bool all = static_cast<bool>(observers.on_logits);
    const std::int64_t n_logits = all ? end - begin : (end == prompt.length() ? 1 : 0);
    logits = executor_.step(backend::Phase::prefill, step_ids_,
                            {0, end - begin, begin, sequence_.pages(), prompt.length()}, n_logits);
    if (all) observers.on_logits(logits);
  }
  return last_row(logits);
}

std::span<const float> Generation::decode(Prompt& prompt, std::int32_t token, Timing& timing) {
  const std::int64_t position = sequence_.length();
  const auto key = static_cast<ContentKey>(token);
  prompt.ids.push_back(token);
  prompt.keys.push_back(key);
  if (files_.description.decoder.rope.switches_at(position + 1)) {
    // The keys so far were turned for a shorter text; the reference, too, computes them anew.
    sequence_.truncate(0);
    return prefill(prompt, 0, timing, {});
  }
  rope_length_ = position + 1;
  sequence_.append({&key, 1});
  return last_row(
      executor_.step(backend::Phase::decode, {&token, 1}, {0, 1, position, sequence_.pages()}, 1));
}

Completion Generation::run(const Request& request, const OnText& on_text) {
  Sampler sampler(request.sampling, files_.description.decoder.vocab_size);
  Prompt prompt = assemble_prompt(files_, request);
  check_size(prompt);
  reserve_answer(prompt);
  const bool same_adapter = choose_adapter(request);
  Completion completion;
  completion.prompt_tokens = prompt.length();
  if (request.reuse == PrefixReuse::previous_request && same_adapter &&
      files_.description.decoder.rope.same_frequencies(rope_length_, prompt.length())) {
    completion.cached_tokens = reusable(prompt);
  }
  sequence_.truncate(completion.cached_tokens);
  std::vector<std::string> stops = request.sampling.stop;
  if (request.form == PromptForm::chat && !request.sampling.ignore_end) {
    stops.insert(stops.end(), files_.stop_strings.begin(), files_.stop_strings.end());
  }
  Answer answer(files_.tokenizer, std::move(stops), on_text);
  std::span<const float> logits = prefill(prompt, completion.cached_tokens, completion.timing, {});

  const Stopwatch stopwatch(completion.timing.decode_seconds);
  const auto ended = [&](std::int32_t token) {
    return !request.sampling.ignore_end &&
           std::count(files_.end_tokens.begin(), files_.end_tokens.end(), token) > 0;
  };
  const auto max_new_tokens = static_cast<std::size_t>(request.sampling.max_new_tokens);
  while (true) {
    const std::int32_t token = sampler.next(logits, prompt.ids);
    completion.finish = FinishReason::end_of_text;
    if (ended(token)) break;
    completion.token_ids.push_back(token);
    answer.append(token);
    completion.finish = FinishReason::stop_string;
    if (answer.stop_string_found()) break;
    completion.finish = FinishReason::stopped_by_caller;
    if (answer.stopped_by_caller()) break;
    completion.finish = FinishReason::max_new_tokens;
    if (completion.token_ids.size() >= max_new_tokens) break;
    completion.finish = FinishReason::context_full;
    if (sequence_.length() >= executor_.configuration().context) break;
    logits = decode(prompt, token, completion.timing);
  }
  answer.finish();
  completion.text = answer.text();
  return completion;
}

std::vector<std::int64_t> Generation::embeddings_shape(std::int64_t n_tiles, std::size_t n_values) const {
  const std::int64_t width = files_.description.decoder.hidden_size;
  // Lines of a grid have no tile of their own.
  if (files_.description.projector->newline) return {static_cast<std::int64_t>(n_values) / width, width};
  return {n_tiles, files_.description.tokens_per_tile(), width};
}

Trace Generation::trace(const Request& request) {
  if (executor_.configuration().logit_rows < executor_.configuration().prefill_chunk) {
    fail(ErrorCode::usage, "a trace needs an engine that was loaded with the logits of all prompt tokens");
  }
  check_sampling(request.sampling);
  Prompt prompt = assemble_prompt(files_, request);
  check_size(prompt);
  reserve_answer(prompt);
  choose_adapter(request);
  sequence_.truncate(0);

  std::vector<float> pixels;
  std::vector<float> features;
  std::vector<float> embeddings;
  std::vector<float> logits;
  const Observers observers{[&](std::string_view stage, const Matrix& values) {
                              append_rows(values, stage == "pixel_values"     ? pixels
                                                  : stage == "tower_features" ? features
                                                                              : embeddings);
                            },
                            [&](const Matrix& values) { append_rows(values, logits); }};
  const std::vector<std::int32_t> input_ids = prompt.ids;  // decoding appends to the prompt
  Timing timing;
  std::vector<std::int32_t> generated{greedy(prefill(prompt, 0, timing, observers))};
  const auto max_new_tokens = static_cast<std::size_t>(request.sampling.max_new_tokens);
  while (generated.size() < max_new_tokens && sequence_.length() < executor_.configuration().context) {
    generated.push_back(greedy(decode(prompt, generated.back(), timing)));
  }

  Trace result{integers("input_ids", input_ids)};
  if (!prompt.pictures.empty()) {
    const model::TowerShape& tower = *files_.description.tower;
    const std::int64_t n_tiles = static_cast<std::int64_t>(pixels.size()) / tower.pixel_values();
    result.push_back(
        floats("pixel_values", {n_tiles, 3, tower.image_size, tower.image_size}, std::move(pixels)));
    result.push_back(
        floats("tower_features", {n_tiles, tower.features(), tower.hidden_size}, std::move(features)));
    const std::vector<std::int64_t> shape = embeddings_shape(n_tiles, embeddings.size());
    result.push_back(floats("image_embeddings", shape, std::move(embeddings)));
  }
  result.push_back(
      floats("logits", {static_cast<std::int64_t>(input_ids.size()), files_.description.decoder.vocab_size},
             std::move(logits)));
  result.push_back(integers("generated_ids", generated));
  return result;
}

}  // namespace galago::runtime

#include "runtime/generation.h"

#include <algorithm>
#include <string>

#include "base/fail.h"

namespace galago::runtime {

Generation::Generation(const ModelFiles& files, Executor& executor)
    : files_(files),
      executor_(executor),
      cache_(executor.configuration(), files.description.decoder.rope,
             [&executor](memory::PageId from, memory::PageId to) { executor.copy_page(from, to); }) {
  const Configuration& configuration = executor.configuration();
  if (configuration.with_pictures) preprocessor_.emplace(*files.image, configuration);
  step_ids_.reserve(static_cast<std::size_t>(configuration.most_rows()));
  step_rows_.reserve(static_cast<std::size_t>(configuration.batch));
  choices_.reserve(static_cast<std::size_t>(configuration.batch));
}

std::unique_ptr<Job> Generation::prepare(std::shared_ptr<const Request> request,
                                         const OnText& on_text) const {
  auto job = std::make_unique<Job>(files_, std::move(request), on_text, executor_.configuration().context);
  check_size(job->prompt);
  job->reserve();
  return job;
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

SequenceCache::Wish Generation::wish_of(const Job& job) const {
  // The last position is always computed: its logits are needed.
  const std::int64_t most = job.reuse == PrefixReuse::cached ? job.prompt.length() - 1 : 0;
  return {job.prompt.keys, job.most_tokens(), most, job.adapter};
}

bool Generation::needs_sight(const Job& job) const {
  if (job.prompt.pictures.empty()) return false;
  const std::int64_t cached = cache_.cached_prefix(wish_of(job));
  return std::any_of(job.prompt.pictures.begin(), job.prompt.pictures.end(),
                     [&](const PictureRows& rows) { return rows.end() > cached; });
}

bool Generation::has_room_for(const Job& job) const {
  const auto n_slots = static_cast<std::size_t>(executor_.configuration().kept_pictures);
  return seen_.size() + job.prompt.pictures.size() <= n_slots;
}

void Generation::see_all(Job& job, const StageObserver& on_stage) {
  cache_.clear();
  job.slots.clear();
  for (const PictureRows& rows : job.prompt.pictures) {
    const auto known =
        job.reuse == PrefixReuse::cached ? std::find(seen_.begin(), seen_.end(), rows.content) : seen_.end();
    job.slots.push_back(known - seen_.begin());
    if (known != seen_.end()) continue;
    seen_.push_back(rows.content);
    see(rows, job.slots.back(), job.timing, on_stage);
  }
}

bool Generation::admit(Job& job) {
  job.sequence = cache_.admit(wish_of(job));
  if (job.sequence == nullptr) return false;
  job.took_over(job.sequence->length());
  return true;
}

Completion Generation::finish(Job& job) {
  cache_.keep(*job.sequence);
  job.sequence = nullptr;
  return job.finish();
}

void Generation::drop(Job& job) {
  executor_.wait();
  if (job.sequence != nullptr) cache_.drop(*job.sequence);
  job.sequence = nullptr;
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
  const auto fill = [&](std::int64_t first, std::span<float> pixels) {
    const Stopwatch stopwatch(preprocess_seconds);
    preprocessor_->fill(*rows.picture, first, pixels);
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

void Generation::collect_ids(const Job& job, std::int64_t begin, std::int64_t end) {
  const Prompt& prompt = job.prompt;
  step_ids_.assign(prompt.ids.begin() + begin, prompt.ids.begin() + end);
  for (std::size_t picture = 0; picture < prompt.pictures.size(); ++picture) {
    const PictureRows& rows = prompt.pictures[picture];
    if (rows.end() <= begin || rows.first >= end) continue;
    const std::int64_t first_row = executor_.first_row(tower_staged() ? job.slots[picture] : 0);
    for (std::int64_t i = std::max(begin, rows.first); i < std::min(end, rows.end()); ++i) {
      step_ids_[static_cast<std::size_t>(i - begin)] = static_cast<std::int32_t>(
          -1 - first_row - rows.layout.rows[static_cast<std::size_t>(i - rows.first)]);
    }
  }
}

std::int32_t Generation::prefill(Job& job, const Observers& observers) {
  const Prompt& prompt = job.prompt;
  const PictureRows* encoded = nullptr;
  for (std::int64_t begin = job.sequence->length(), end = 0; begin < prompt.length(); begin = end) {
    end = chunk_end(prompt, begin);
    for (const PictureRows& rows : prompt.pictures) {
      if (rows.end() <= begin || rows.first >= end) continue;
      if (encoded != &rows && !tower_staged()) see(rows, 0, job.timing, observers.on_stage);
      encoded = &rows;
    }
    const Stopwatch stopwatch(job.timing.prefill_seconds);
    collect_ids(job, begin, end);
    job.sequence->append(
        std::span(prompt.keys)
            .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    const bool all = static_cast<bool>(observers.on_logits);
    const std::int64_t n_logits = all ? end - begin : (end == prompt.length() ? 1 : 0);
    executor_.use_adapter(job.adapter);
    const Sequence& sequence = *job.sequence;
    executor_.step(backend::Phase::prefill, step_ids_,
                   {0, end - begin, begin, sequence.pages(), prompt.length(), sequence.given_back()},
                   n_logits);
    if (all) observers.on_logits(executor_.logits());
  }
  const Stopwatch stopwatch(job.timing.prefill_seconds);
  const backend::TokenChoice choice = job.choice();
  return executor_.choose({&choice, 1}).front();
}

std::int32_t Generation::decode_anew(Job& job) {
  // The keys so far were turned for a shorter text; the reference, too, computes them anew.
  job.sequence->truncate(0);
  job.sequence->reserve(job.most_tokens());
  return prefill(job, {});
}

void Generation::decode(std::span<Job* const> jobs, const OnToken& on_token) {
  const model::Rope& rope = files_.description.decoder.rope;
  step_ids_.clear();
  step_rows_.clear();
  choices_.clear();
  for (Job* job : jobs) {
    const auto key = static_cast<ContentKey>(job->token);
    const std::int64_t position = job->sequence->length();
    job->prompt.ids.push_back(job->token);
    job->prompt.keys.push_back(key);
    if (rope.switches_at(position + 1)) continue;
    job->sequence->append({&key, 1});
    const auto row = static_cast<std::int64_t>(step_ids_.size());
    step_ids_.push_back(job->token);
    step_rows_.push_back({row, 1, position, job->sequence->pages(), 0, job->sequence->given_back()});
    choices_.push_back(job->choice());
  }
  if (!step_ids_.empty()) {
    executor_.use_adapter(jobs.front()->adapter);
    const auto n_rows = static_cast<std::int64_t>(step_ids_.size());
    executor_.step(backend::Phase::decode, step_ids_, step_rows_, n_rows);
    auto token = executor_.choose(choices_).begin();
    for (Job* job : jobs) {
      if (job->sequence->length() == job->prompt.length()) on_token(*job, *token++);
    }
  }
  for (Job* job : jobs) {
    // Those left out of the step are one position behind.
    if (job->sequence->length() < job->prompt.length()) on_token(*job, decode_anew(*job));
  }
}

}  // namespace galago::runtime

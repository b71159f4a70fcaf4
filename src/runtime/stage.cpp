#include "runtime/stage.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "backend/op_costs.h"

namespace galago::runtime {

using backend::Phase;
using memory::RegionId;

namespace {

bool lasts(const memory::Arena& arena, RegionId id) {
  return arena.occupancy().lasting[static_cast<std::size_t>(id)];
}

std::span<std::byte> bytes_of(const Matrix& values) {
  return std::as_writable_bytes(std::span(values.data, static_cast<std::size_t>(values.rows * values.cols)));
}

/// Both contiguous, in the host's memory.
void copy(const Matrix& from, const Matrix& to) {
  std::copy_n(from.data, from.rows * from.cols, to.data);
}

}  // namespace

Stage::Stage(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
             const Configuration& configuration, Place place)
    : configuration_(configuration),
      backend_(place.backend),
      arena_(std::move(place.arena)),
      queue_(arena_.mode()),
      pages_last_(lasts(arena_, RegionId::kv)) {
  network_.description = description;
  load_decoder(checkpoint, place);
  pages_ = model::layout_pages(description.decoder, place.layers.count(), configuration_.kv_format,
                               configuration_.page_tokens);
  pages_.sequence_pages = configuration_.request_pages();
  if (pages_last_) take_pages();
  if (!network_.decoder.is_first()) take_inbox();
}

Stage::~Stage() {
  stop();
}

void Stage::take_inbox() {
  inbox_.emplace(configuration_);
  // The stage before may leave rows while this one changes from phase to phase, so their place stays.
  handed_ =
      arena_.matrix(RegionId::staging, configuration_.most_rows(), network_.description.decoder.hidden_size);
  arena_.region(RegionId::staging).keep();
}

void Stage::load_decoder(const checkpoint::Checkpoint& checkpoint, const Place& place) {
  const model::DecoderShape& shape = network_.description.decoder;
  const std::int64_t n_streamed = configuration_.streamed_of(place.layers);
  {
    WeightLoader loader(checkpoint, configuration_, arena_, place.contents);
    network_.decoder = model::load_decoder(shape, place.layers, loader, n_streamed);
  }
  if (n_streamed > 0) stream_.emplace(checkpoint, configuration_, arena_, network_.decoder);
}

void Stage::take_pages() {
  pages_.base =
      arena_.region(RegionId::kv).take(static_cast<Bytes>(configuration_.n_pages()) * pages_.page_bytes);
}

void Stage::enter(Phase phase) {
  queue_.enter(phase);
  if (!arena_.enter(phase)) return;
  if (phase == Phase::encode) return;
  const model::DecoderShape& shape = network_.description.decoder;
  if (!pages_last_) take_pages();
  if (network_.decoder.is_last()) {
    logits_ = arena_.matrix(RegionId::activations, configuration_.most_logit_rows(), shape.vocab_size);
    tokens_ = arena_.array<std::int32_t>(RegionId::staging, configuration_.batch);
  }
  if (arena_.device() == nullptr) return;
  if (network_.decoder.is_last()) {
    host_logits_ = arena_.matrix(RegionId::staging, configuration_.most_logit_rows(), shape.vocab_size);
  }
  page_ = arena_.region(RegionId::staging).take(pages_.page_bytes);
}

void Stage::start(Stage* next) {
  thread_ = std::thread([this, next] {
    while (run_next(next)) {
    }
  });
}

void Stage::stop() {
  if (!thread_.joinable()) return;
  inbox_->close();
  thread_.join();
}

bool Stage::run_next(Stage* next) {
  const StageTask* const task = inbox_->begin();
  if (task == nullptr) return false;
  std::exception_ptr failure;
  try {
    if (task->step.rows.ids.empty() || !inbox_->has_failed()) run(*task, next);
  } catch (...) {
    failure = std::current_exception();
  }
  inbox_->end(failure);
  return true;
}

void Stage::run(const StageTask& task, Stage* next) {
  if (!task.step.rows.ids.empty()) return run_step(task, next);
  enter(task.phase);
  if (next != nullptr) {
    next->inbox_->wait_until_free();
    next->inbox_->leave(task);
  }
}

void Stage::run_step(const StageTask& task, Stage* next) {
  backend::Execution exec{arena_, queue_};
  const model::Decoder& decoder = network_.decoder;
  const auto rows = static_cast<std::int64_t>(task.step.rows.ids.size());
  const memory::Scope scope(arena_.region(RegionId::activations));
  model::DecoderStep here = task.step;
  here.rows = backend_.bring_rows(exec, task.step.rows, pages_.layer(0));
  here.feed = stream_ ? &*stream_ : nullptr;
  const Matrix hidden = arena_.matrix(RegionId::activations, rows, decoder.shape.hidden_size);
  const Matrix logits = decoder.is_last() ? logits_.slice_rows(0, task.n_logits) : Matrix{};
  if (!decoder.is_first()) receive(hidden);
  const auto work = [&] {
    if (decoder.is_first()) model::embed_step(decoder, backend_, exec, here, hidden);
    model::run_layers(decoder, backend_, exec, pages_, here, hidden);
    if (logits.rows == 0) return;
    model::compute_logits(decoder, backend_, exec, hidden.slice_rows(rows - task.n_logits, task.n_logits),
                          logits);
  };
  if (const auto key = model::repeatable(decoder, here, logits)) {
    backend_.repeat(exec, *key, std::ref(work));
  } else {
    work();
  }
  n_logits_ = task.n_logits;
  if (next == nullptr) return;
  next->inbox_->wait_until_free();
  hand_over(hidden, next->handed_.slice_rows(0, rows));
  next->inbox_->leave(task);
}

void Stage::hand_over(const Matrix& hidden, const Matrix& handed) {
  queue_.submit(backend::Op::hand_over, backend::costs::move(hidden, handed), [&] {
    if (arena_.device() == nullptr) {
      copy(hidden, handed);
    } else {
      arena_.device()->download(bytes_of(handed), bytes_of(hidden).data());
    }
  });
}

void Stage::receive(const Matrix& hidden) {
  const Matrix handed = handed_.slice_rows(0, hidden.rows);
  queue_.submit(backend::Op::hand_over, backend::costs::move(handed, hidden), [&] {
    if (arena_.device() == nullptr) {
      copy(handed, hidden);
    } else {
      arena_.device()->upload(bytes_of(hidden).data(), bytes_of(handed));
    }
  });
  inbox_->free();
}

Matrix Stage::logits() const {
  const Matrix logits = logits_.slice_rows(0, n_logits_);
  if (arena_.device() == nullptr) return logits;
  const Matrix copy = host_logits_.slice_rows(0, n_logits_);
  if (arena_.mode() == memory::Mode::plan || n_logits_ == 0) return copy;
  arena_.device()->download(bytes_of(copy), bytes_of(logits).data());
  return copy;
}

std::span<const std::int32_t> Stage::choose(std::span<const backend::TokenChoice> choices) {
  const auto n = static_cast<std::int64_t>(choices.size());
  backend::Execution exec{arena_, queue_};
  const std::span<std::int32_t> tokens(tokens_, choices.size());
  backend_.choose(exec, logits_.slice_rows(n_logits_ - n, n), choices, tokens);
  return tokens;
}

void Stage::copy_page(backend::PageId from, backend::PageId to) {
  const auto place = [&](backend::PageId page) {
    return pages_.base + static_cast<Bytes>(page) * pages_.page_bytes;
  };
  if (arena_.device() == nullptr) {
    std::memcpy(place(to), place(from), pages_.page_bytes);
    return;
  }
  const std::span<std::byte> on_host(page_, pages_.page_bytes);
  arena_.device()->download(on_host, place(from));
  arena_.device()->upload(place(to), on_host);
}

void Stage::show(std::string_view stage, const Matrix& values, const StageObserver& observer) const {
  if (arena_.device() == nullptr || arena_.mode() == memory::Mode::plan) return observer(stage, values);
  std::vector<float> copy(static_cast<std::size_t>(values.rows * values.cols));
  for (std::int64_t row = 0; row < values.rows; ++row) {
    const std::span<float> to(copy.data() + row * values.cols, static_cast<std::size_t>(values.cols));
    arena_.device()->download(std::as_writable_bytes(to),
                              reinterpret_cast<const std::byte*>(values.row(row)));
  }
  observer(stage, {copy.data(), values.rows, values.cols, values.cols});
}

}  // namespace galago::runtime

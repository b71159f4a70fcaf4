// Windows with attention sinks, end to end: what is computed is what a masked decoder without pages computes,
// and what is used is what was planned, however long the text gets.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "galago/galago.h"
#include "kernels/reference/reference.h"
#include "runtime/executor.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"
#include "support/tasks.h"

namespace galago {
namespace {

namespace reference = kernels::reference;

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

EngineOptions options_for(const char* folder) {
  EngineOptions options;
  options.model = goldens / folder;
  const char* device = std::getenv("GALAGO_TEST_DEVICE");
  options.device = device != nullptr ? device : "cpu";
  options.precision = Precision::fp32;
  options.compute = Compute::fp32;
  options.logits = LogitRows::all;
  return options;
}

Request ask(const std::string& text, std::int64_t n_tokens) {
  Request request;
  request.form = PromptForm::raw;
  request.messages = {{Role::user, text, {}}};
  request.sampling.max_new_tokens = n_tokens;
  request.sampling.ignore_end = true;
  return request;
}

const std::string long_text =
    "The quick brown fox jumps over the lazy dog, and the dog looks up once, sighs, and goes back to sleep. "
    "A small animal, all eyes, sits in a tree above them both and has seen everything from the beginning.";

const TraceTensor& stage(const Trace& trace, const std::string& name) {
  return *std::find_if(trace.begin(), trace.end(), [&](const TraceTensor& t) { return t.name == name; });
}

std::uint64_t kv_bytes(const std::vector<RegionUse>& regions) {
  return std::find_if(regions.begin(), regions.end(), [](const RegionUse& r) { return r.name == "kv"; })
      ->high_water;
}

/// text-llama as its paper writes it, a token at a time and with a mask instead of pages, in FP32.
class NaiveDecoder {
 public:
  NaiveDecoder()
      : files_(runtime::open_model(goldens / "text-llama")),
        backend_(backend::make_cpu_backend(1)),
        configuration_(configure()),
        executor_(files_.checkpoint, files_.description, configuration_, *backend_,
                  runtime::reserve(runtime::rehearse(files_, configuration_, *backend_), *backend_)) {}

  /// [ids, vocab_size]
  std::vector<std::vector<float>> logits(const std::vector<std::int64_t>& ids,
                                         const reference::Sight& sight) const {
    const model::Decoder& decoder = executor_.stage(0).network().decoder;
    std::vector<std::vector<float>> hidden;
    for (const std::int64_t id : ids) hidden.push_back(row_of(decoder.token_embedding, id));
    for (const model::DecoderLayer& layer : decoder.layers) {
      attend(layer, sight, hidden);
      for (auto& x : hidden) add_mlp(layer, x);
    }
    for (auto& x : hidden) x = product(normed(x, decoder.norm), decoder.output);
    return hidden;
  }

 private:
  using Row = std::vector<float>;

  runtime::Configuration configure() const {
    EngineOptions options;
    options.precision = Precision::fp32;
    options.context = 16;
    return runtime::configure(options, files_.description, {});
  }

  static Row row_of(const Weight& w, std::int64_t i) {
    const float* row = static_cast<const float*>(w.data) + i * w.cols();
    return {row, row + w.cols()};
  }
  static Row product(const Row& x, const Weight& w) {
    Row y;
    for (std::int64_t i = 0; i < w.rows(); ++i) {
      y.push_back(static_cast<float>(reference::dot(x.data(), row_of(w, i).data(), w.cols())));
    }
    return y;
  }
  Row normed(const Row& x, const Weight& w) const {
    const auto y = reference::rms_norm(x.data(), static_cast<const float*>(w.data), shape().norm_epsilon,
                                       static_cast<std::int64_t>(x.size()));
    return {y.begin(), y.end()};
  }
  const model::DecoderShape& shape() const { return files_.description.decoder; }

  /// Query over key over value of a position, the first two turned.
  Row turned_qkv(const model::DecoderLayer& layer, const Row& x, std::int64_t position) const {
    Row qkv = product(normed(x, layer.attention_norm), layer.qkv);
    const std::int64_t n_turned = shape().n_heads + shape().n_kv_heads;
    for (std::int64_t head = 0; head < n_turned; ++head) {
      float* values = qkv.data() + head * shape().head_size;
      const auto turned =
          reference::rope(values, shape().rope.frequencies.data(), position, shape().head_size);
      std::copy(turned.begin(), turned.end(), values);
    }
    return qkv;
  }

  void attend(const model::DecoderLayer& layer, const reference::Sight& sight,
              std::vector<Row>& hidden) const {
    const std::int64_t width = shape().query_size() + 2 * shape().kv_size();
    Row qkv;  // [positions, width]
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      const Row row = turned_qkv(layer, hidden[i], static_cast<std::int64_t>(i));
      qkv.insert(qkv.end(), row.begin(), row.end());
    }
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      const auto position = static_cast<std::int64_t>(i);
      Row attended;
      for (std::int64_t head = 0; head < shape().n_heads; ++head) {
        const std::int64_t kv_head = head / (shape().n_heads / shape().n_kv_heads);
        const float* keys = qkv.data() + shape().query_size() + kv_head * shape().head_size;
        const auto out = reference::attend(qkv.data() + position * width + head * shape().head_size, keys,
                                           keys + shape().kv_size(), width, position + 1, shape().head_size,
                                           1 / std::sqrt(static_cast<double>(shape().head_size)), sight);
        attended.insert(attended.end(), out.begin(), out.end());
      }
      const Row out = product(attended, layer.attention_out);
      for (std::size_t d = 0; d < out.size(); ++d) hidden[i][d] += out[d];
    }
  }

  void add_mlp(const model::DecoderLayer& layer, Row& x) const {
    Row both = product(normed(x, layer.mlp_norm), layer.gate_up);
    const auto n = static_cast<std::size_t>(shape().mlp_size);
    for (std::size_t i = 0; i < n; ++i) both[i] = static_cast<float>(reference::silu(both[i]) * both[n + i]);
    both.resize(n);
    const Row out = product(both, layer.down);
    for (std::size_t d = 0; d < out.size(); ++d) x[d] += out[d];
  }

  runtime::ModelFiles files_;
  std::unique_ptr<backend::Backend> backend_;
  runtime::Configuration configuration_;
  runtime::Executor executor_;
};

/// Logits of the prompt within the parity tests' tolerance, and every token the likeliest.
void expect_naive(const NaiveDecoder& naive, const Trace& trace, const reference::Sight& sight) {
  std::vector<std::int64_t> ids = stage(trace, "input_ids").integers;
  const std::vector<std::int64_t>& generated = stage(trace, "generated_ids").integers;
  const std::size_t n_prompt = ids.size();
  ids.insert(ids.end(), generated.begin(), generated.end() - 1);
  const auto expected = naive.logits(ids, sight);
  const std::vector<float>& logits = stage(trace, "logits").floats;
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float value = expected[i / expected[0].size()][i % expected[0].size()];
    largest = std::max<double>(largest, std::abs(value));
    difference = std::max<double>(difference, std::abs(logits[i] - value));
  }
  EXPECT_LE(difference, 1e-4 * largest);
  for (std::size_t i = 0; i < generated.size(); ++i) {
    const auto& row = expected[n_prompt - 1 + i];
    EXPECT_EQ(generated[i], std::max_element(row.begin(), row.end()) - row.begin()) << "token " << i;
  }
}

struct Sighted {
  std::int64_t window, sinks, chunk;
};

class SmallWindow : public ::testing::TestWithParam<Sighted> {};

TEST_P(SmallWindow, ComputesWhatAMaskedDecoderDoes) {
  const auto [window, sinks, chunk] = GetParam();
  EngineOptions options = options_for("text-llama");
  options.window = window;
  options.sinks = sinks;
  options.prefill_chunk = chunk;
  Engine engine(options);
  const Trace trace = engine.trace(ask(long_text, 40));
  ASSERT_GT(stage(trace, "input_ids").integers.size(), 80U);
  expect_naive(NaiveDecoder(), trace, {window, sinks});
  EXPECT_LE(kv_bytes(engine.memory()),
            static_cast<std::uint64_t>(2 * 2 * 64 * 4 * (sinks + window + chunk + 3 * 16)));
}

INSTANTIATE_TEST_SUITE_P(Sights, SmallWindow,
                         ::testing::Values(Sighted{1, 0, 512}, Sighted{5, 1, 7}, Sighted{16, 4, 16},
                                           Sighted{17, 0, 3}, Sighted{20, 16, 33}, Sighted{33, 40, 10}));

struct Unwindowed {
  const char* folder;
  std::int64_t sinks;
};

class WindowOverAll : public ::testing::TestWithParam<Unwindowed> {};

TEST_P(WindowOverAll, ChangesNotABit) {
  EngineOptions options = options_for(GetParam().folder);
  options.context = 200;
  options.prefill_chunk = 50;
  const Request request = ask(long_text, 20);
  Engine plain(options);
  const Trace expected = plain.trace(request);
  options.window = 200;
  options.sinks = GetParam().sinks;
  Engine windowed(options);
  const Trace trace = windowed.trace(request);
  EXPECT_EQ(stage(trace, "logits").floats, stage(expected, "logits").floats);
  EXPECT_EQ(stage(trace, "generated_ids").integers, stage(expected, "generated_ids").integers);
  EXPECT_EQ(windowed.plan().n_pages, plain.plan().n_pages);
}

INSTANTIATE_TEST_SUITE_P(Families, WindowOverAll,
                         ::testing::Values(Unwindowed{"text-llama", 4}, Unwindowed{"llava-1.5", 17},
                                           Unwindowed{"text-phi3", 0}, Unwindowed{"text-mistral-window", 0}));

TEST(Window, AModelsOwnWindowGivesPagesBackToo) {
  // Each of its layers sees 16 positions. The parity tests hold its values to the reference.
  EngineOptions options = options_for("text-mistral-window");
  options.context = 2000;
  options.prefill_chunk = 32;
  EXPECT_EQ(plan_model(options).n_pages, 1 + (16 - 1 + 32 - 1 + 15) / 16);
  options.window = 1000;
  options.sinks = 17;
  const Plan wider = plan_model(options);
  EXPECT_EQ(wider.window, 16) << "the narrower of the two";
  EXPECT_EQ(wider.n_pages, 2 + 1 + (16 - 1 + 32 - 1 + 15) / 16);
}

TEST(Window, ALongTextTakesTheMemoryOfAShortOne) {
  EngineOptions options = options_for("text-llama");
  options.logits = LogitRows::last;
  options.window = 40;
  options.prefill_chunk = 16;
  Engine engine(options);
  EXPECT_EQ(engine.plan().context, 4096) << "the model's own";
  EXPECT_EQ(engine.plan().n_pages, 6) << "one of sinks, five of 55 positions wherever they begin";
  const Completion completion = engine.generate(ask(long_text, 1500));
  EXPECT_EQ(completion.token_ids.size(), 1500U);
  for (const RegionUse& use : engine.memory()) EXPECT_EQ(use.high_water, use.planned) << use.name;
}

TEST(Window, AConversationGoesOnFromItsCache) {
  EngineOptions options = options_for("text-llama");
  options.logits = LogitRows::last;
  options.window = 32;
  options.prefill_chunk = 16;
  Engine engine(options);
  Request request = ask(long_text, 2);
  request.reuse = PrefixReuse::cached;
  std::int64_t n_tokens = engine.generate(request).prompt_tokens;
  for (const std::int64_t n_new : {2, 2, 2, 30}) {
    request.messages.front().text += " and so on";
    request.sampling.max_new_tokens = n_new;
    Request anew = request;
    anew.reuse = PrefixReuse::none;
    const Completion cached = engine.generate(request);
    EXPECT_GE(cached.cached_tokens, n_tokens - 1);
    Engine other(options);
    EXPECT_EQ(cached.token_ids, other.generate(anew).token_ids);
    n_tokens = cached.prompt_tokens;
  }
  // Now the window has moved on, and only the sinks' page is left of the beginning.
  request.messages.front().text = long_text;
  EXPECT_EQ(engine.generate(request).cached_tokens, 16);
}

TEST(Window, RequestsOfABatchAnswerAsAlone) {
  EngineOptions options = options_for("text-llama");
  options.logits = LogitRows::last;
  options.window = 24;
  options.sinks = 20;
  options.prefill_chunk = 16;
  std::vector<Request> requests;
  for (const std::int64_t n_tokens : {90, 10, 60, 33, 75}) {
    requests.push_back(
        ask(long_text.substr(0, long_text.size() - static_cast<std::size_t>(n_tokens)), n_tokens));
    requests.back().reuse = PrefixReuse::cached;
  }
  std::vector<std::vector<std::int32_t>> expected, answers(requests.size());
  for (Request request : requests) {
    Engine alone(options);
    request.reuse = PrefixReuse::none;
    expected.push_back(alone.generate(request).token_ids);
  }
  options.batch = 3;
  const std::int64_t of_one = plan_model(options).n_pages / 3;
  for (const std::int64_t n_pages : {of_one, of_one + 3, 3 * of_one}) {
    options.kv_tokens = n_pages * 16;
    Engine engine(options);
    ASSERT_EQ(engine.plan().n_pages, n_pages);
    for (int round = 0; round < 2; ++round) {
      std::size_t next = 0;
      engine.generate_all(test::hand_out(requests, next), [&](const Outcome& outcome) {
        answers[outcome.task] = outcome.completion.value().token_ids;
        return true;
      });
      EXPECT_EQ(answers, expected) << n_pages << " pages, round " << round;
    }
  }
}

TEST(Window, NumbersThatCannotBeAreRefused) {
  EngineOptions options = options_for("text-llama");
  const auto refused = [&](std::int64_t window, std::optional<std::int64_t> sinks) {
    options.window = window;
    options.sinks = sinks;
    try {
      plan_model(options);
      return false;
    } catch (const Error& error) {
      return error.code() == ErrorCode::usage;
    }
  };
  EXPECT_TRUE(refused(-1, std::nullopt));
  EXPECT_TRUE(refused(8, -1));
  EXPECT_TRUE(refused(0, 4)) << "sinks without a window";
  EXPECT_FALSE(refused(8, 0));
  EXPECT_FALSE(refused(std::int64_t{1} << 62, std::int64_t{1} << 62));
}

}  // namespace
}  // namespace galago

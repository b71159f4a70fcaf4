// The engine against its references, stage by stage, through the public API (tests/goldens/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <string>

#include "checkpoint/scratch.h"
#include "galago/galago.h"
#include "support/golden.h"

namespace galago::testing {
namespace {

/// The committed goldens, or others of the same layout that GALAGO_GOLDENS names.
std::filesystem::path goldens_root() {
  const char* other = std::getenv("GALAGO_GOLDENS");
  return other != nullptr ? other : GALAGO_GOLDENS_DIR;
}

const std::filesystem::path goldens = goldens_root();

/// What every case generates.
constexpr std::int64_t n_new_tokens = 24;

/// Where the models run: the CPU, or what GALAGO_TEST_DEVICE names.
std::string test_device() {
  const char* device = std::getenv("GALAGO_TEST_DEVICE");
  return device != nullptr ? device : "cpu";
}

/// Relative tolerances as tests/goldens/README.md measures them: max |difference| / max |reference|.
struct Tolerance {
  double tower = 1e-4, embeddings = 1e-4, logits = 1e-4;
};

struct Family {
  std::string folder;
  Tolerance fp32{};
  // Sums stay in FP32, so these are closer than the 16-bit types throughout, whose scale is in golden.json.
  Tolerance fp16{0.002, 0.002, 0.005};
  Tolerance bf16{0.02, 0.02, 0.04};
};

void PrintTo(const Family& family, std::ostream* out) {
  *out << family.folder;
}

/// Every family with a reference.
const std::vector<Family>& known_families() {
  static const std::vector<Family> families = {
      {"llava-1.5"},
      {"llava-1.5-original"},
      // The adapter's branches are large beside the base, and are rounded too.
      {"llava-1.5-lora", {}, {0.002, 0.002, 0.005}, {0.02, 0.02, 0.06}},
      {"llava-1.5-lora-old-names", {}, {0.002, 0.002, 0.005}, {0.02, 0.02, 0.06}},
      {"llava-1.6-vicuna"},
      {"llava-1.6-mistral"},
      {"llava-1.6-mistral-original"},
      {"internvl2-llama"},
      {"internvl2-qwen2"},
      {"internvl2-internlm2"},
      {"internvl2-phi3"},
      {"internvl2-qk-norm"},
      {"internvl2.5-hf-llama"},
      {"internvl3-hf"},
      // So are those of Partial LoRA.
      {"internlm-xcomposer2-vl", {}, {0.002, 0.002, 0.005}, {0.02, 0.02, 0.08}},
      {"text-llama"},
      {"text-llama-linear"},
      {"text-llama-dynamic"},
      {"text-llama3"},
      {"text-mistral-window"},
      {"text-qwen2"},
      {"text-qwen2-yarn"},
      {"text-internlm2"},
      {"text-phi3"},
      {"text-phi3-longrope"},
      {"text-seed-oss"},
      {"text-llama-awq"},
      {"text-llama-gptq"},
      {"text-llama-gptq-act-order"},
      {"text-llama-nf4"},
      {"text-llama-nf4-double"},
  };
  return families;
}

/// The committed ones, or those under the root that GALAGO_GOLDENS names: known or of other names.
std::vector<Family> families_to_test() {
  if (std::getenv("GALAGO_GOLDENS") == nullptr) return known_families();
  std::vector<Family> families;
  for (const auto& entry : std::filesystem::directory_iterator(goldens)) {
    if (!std::filesystem::exists(entry.path() / "golden.safetensors")) continue;
    const std::string folder = entry.path().filename().string();
    const auto& known = known_families();
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&folder](const Family& family) { return family.folder == folder; });
    families.push_back(found == known.end() ? Family{folder} : *found);
  }
  std::sort(families.begin(), families.end(),
            [](const Family& a, const Family& b) { return a.folder < b.folder; });
  return families;
}

const TraceTensor* find(const Trace& trace, const std::string& name) {
  const auto found =
      std::find_if(trace.begin(), trace.end(), [&](const TraceTensor& t) { return t.name == name; });
  return found == trace.end() ? nullptr : &*found;
}

double relative_difference(std::span<const float> values, std::span<const float> reference) {
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(values[i]) - reference[i]));
    largest = std::max(largest, std::abs(static_cast<double>(reference[i])));
  }
  return difference / largest;
}

void expect_close(const Golden& golden, const std::string& name, const TraceTensor* traced,
                  double tolerance) {
  if (!golden.has(name)) return;
  ASSERT_NE(traced, nullptr) << name;
  const GoldenTensor& reference = golden.tensor(name);
  std::span<const float> values = traced->floats;
  // Logits of later cases are kept for the last position only.
  if (reference.floats().size() < values.size()) values = values.last(reference.floats().size());
  ASSERT_EQ(values.size(), reference.floats().size()) << name;
  EXPECT_LE(relative_difference(values, reference.floats()), tolerance) << name;
}

std::vector<std::int64_t> integers(const GoldenTensor& tensor) {
  return {tensor.integers().begin(), tensor.integers().end()};
}

/// The goldens' prompts show what stands around a picture; ours have one mark for it all.
std::string golden_prompt(const nlohmann::json& golden_case) {
  auto prompt = golden_case.at("prompt").get<std::string>();
  const std::string shown = "<img>{image}</img>";
  for (std::size_t at = prompt.find(shown); at != std::string::npos; at = prompt.find(shown)) {
    prompt.replace(at, shown.size(), "<image>");
  }
  return prompt;
}

Request request_of(const nlohmann::json& golden_case) {
  Request request;
  request.form = PromptForm::raw;
  request.sampling.max_new_tokens = n_new_tokens;
  Message message{Role::user, golden_prompt(golden_case), {}};
  for (const auto& image : golden_case.value("images", nlohmann::json::array())) {
    message.images.push_back(load_image(goldens / "images" / image.get<std::string>(),
                                        {.limits = {}, .exif = ExifOrientation::ignore}));
  }
  request.messages = {std::move(message)};
  return request;
}

void check_case(const Golden& golden, const std::string& name, const Trace& trace,
                const Tolerance& tolerance) {
  EXPECT_EQ(find(trace, "input_ids")->integers, integers(golden.tensor(name + ".input_ids")));
  // 0.02 normalised is one 8-bit level; the readme allows it in rare places, these pictures do not need it.
  expect_close(golden, name + ".pixel_values", find(trace, "pixel_values"), 1e-6);
  expect_close(golden, name + ".tower_features", find(trace, "tower_features"), tolerance.tower);
  expect_close(golden, name + ".image_embeddings", find(trace, "image_embeddings"), tolerance.embeddings);
  expect_close(golden, name + ".logits", find(trace, "logits"), tolerance.logits);
}

/// Tokens of the longest case with its answer: models may have positions for no more.
std::int64_t longest_sequence(const Golden& golden) {
  std::size_t longest = 0;
  for (const auto& golden_case : golden.cases()) {
    const auto name = golden_case.at("name").get<std::string>();
    longest = std::max(longest, golden.tensor(name + ".input_ids").integers().size());
  }
  return static_cast<std::int64_t>(longest) + n_new_tokens;
}

EngineOptions options_for(const std::string& folder) {
  EngineOptions options;
  options.model = goldens / folder;
  if (std::filesystem::exists(goldens / folder / "adapter_config.json")) {
    options.adapters = {goldens / folder};
    options.model /= Golden(goldens / folder).json().at("base").get<std::string>();
  }
  options.device = test_device();
  options.precision = Precision::fp32;
  options.compute = Compute::fp32;
  options.logits = LogitRows::all;
  options.context = longest_sequence(Golden(goldens / folder));
  return options;
}

void check_folder(const std::string& folder, EngineOptions options, const Tolerance& tolerance,
                  bool same_tokens) {
  const Golden golden(goldens / folder);
  Engine engine(options);
  for (const auto& golden_case : golden.cases()) {
    const auto name = golden_case.at("name").get<std::string>();
    SCOPED_TRACE(folder + " " + name);
    const Trace trace = engine.trace(request_of(golden_case));
    check_case(golden, name, trace, tolerance);
    if (same_tokens) {
      EXPECT_EQ(find(trace, "generated_ids")->integers, integers(golden.tensor(name + ".generated_ids")));
    }
  }
}

class Parity : public ::testing::TestWithParam<Family> {};

TEST_P(Parity, EveryStageEqualsTheReferenceInFp32) {
  check_folder(GetParam().folder, options_for(GetParam().folder), GetParam().fp32, true);
}

TEST_P(Parity, SmallPrefillChunksGiveTheSame) {
  EngineOptions options = options_for(GetParam().folder);
  options.prefill_chunk = 7;
  check_folder(GetParam().folder, options, GetParam().fp32, true);
}

TEST_P(Parity, FewRowsInAnMlpAtOnceGiveTheSameBits) {
  const Golden golden(goldens / GetParam().folder);
  const Request request = request_of(golden.cases().at(0));
  EngineOptions options = options_for(GetParam().folder);
  const Trace all = Engine(options).trace(request);
  // Borders of blocks lie anywhere, in pictures too; but kernels for a few rows add up in another order.
  const std::int64_t few = test_device() == "cpu" ? 3 : 8;
  const std::int64_t n_rows = std::ssize(find(all, "input_ids")->integers);
  options.mlp_rows = std::min<std::int64_t>(17, n_rows / 2 + 1);
  while (n_rows % options.mlp_rows > 0 && n_rows % options.mlp_rows <= few) ++options.mlp_rows;
  Engine engine(options);
  EXPECT_EQ(engine.plan().mlp_rows, options.mlp_rows);
  EXPECT_LT(options.mlp_rows, n_rows);
  EXPECT_EQ(find(engine.trace(request), "logits")->floats, find(all, "logits")->floats);
}

TEST_P(Parity, Fp16WeightsStayWithinTheirTolerance) {
  EngineOptions options = options_for(GetParam().folder);
  options.precision = Precision::fp16;
  options.kv = KvPrecision::fp16;
  check_folder(GetParam().folder, options, GetParam().fp16, false);
}

TEST_P(Parity, Bf16WeightsStayWithinTheirTolerance) {
  EngineOptions options = options_for(GetParam().folder);
  options.precision = Precision::bf16;
  check_folder(GetParam().folder, options, GetParam().bf16, false);
}

/// What a CUDA device computes when nothing is asked for: FP16 on tensor cores, in attention too.
TEST_P(Parity, TensorCoresStayNear) {
  if (test_device() == "cpu") GTEST_SKIP() << "the CPU has none";
  EngineOptions options = options_for(GetParam().folder);
  options.precision = Precision::fp16;
  options.kv = KvPrecision::fp16;
  options.compute = Compute::automatic;
  options.prefill_chunk = 48;  // products of some rows, and of the rest
  // Measured: up to 0.0071 (internvl2-phi3); the adapters' branches, large beside the base, 0.0113.
  const bool adapted = GetParam().folder.find("lora") != std::string::npos;
  check_folder(GetParam().folder, options, {0.004, adapted ? 0.02 : 0.004, adapted ? 0.05 : 0.01}, false);
}

TEST_P(Parity, OneThreadOrThreeGiveTheSameBits) {
  const Golden golden(goldens / GetParam().folder);
  const Request request = request_of(golden.cases().at(0));
  std::vector<Trace> traces;
  for (const int threads : {1, 3}) {
    EngineOptions options = options_for(GetParam().folder);
    options.threads = threads;
    traces.push_back(Engine(options).trace(request));
  }
  EXPECT_EQ(find(traces[0], "logits")->floats, find(traces[1], "logits")->floats);
}

TEST_P(Parity, KeysAndValuesInInt8StayNear) {
  EngineOptions options = options_for(GetParam().folder);
  options.kv = KvPrecision::int8;
  // Measured: up to 0.066 (internlm-xcomposer2-vl), which BF16 throughout moves as far.
  check_folder(GetParam().folder, options, {GetParam().fp32.tower, GetParam().fp32.embeddings, 0.08}, false);
}

std::string title(const ::testing::TestParamInfo<Family>& info) {
  std::string name = info.param.folder;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

/// Checkpoints whose quants stay packed in memory without loss.
class PackedParity : public ::testing::TestWithParam<Family> {};

TEST_P(PackedParity, StoredQuantsGiveWhatTheirValuesGive) {
  EngineOptions options = options_for(GetParam().folder);
  options.precision = Precision::automatic;
  options.kv = KvPrecision::fp32;
  // bitsandbytes rounds NF4's values to the model's type, packed ones are not.
  // CUDA's products of many rows take quants' values in FP16.
  const bool rounded = GetParam().folder.find("nf4") != std::string::npos || test_device() != "cpu";
  check_folder(GetParam().folder, options, rounded ? GetParam().fp16 : GetParam().fp32, true);
}

TEST_P(PackedParity, ActivationsInInt8StayNear) {
  EngineOptions options = options_for(GetParam().folder);
  options.precision = Precision::automatic;
  options.kv = KvPrecision::fp32;
  options.compute = Compute::automatic;
  const double near = 0.05;  // as far as BF16 moves models of this kind
  check_folder(GetParam().folder, options, {near, near, near}, false);
}

std::vector<Family> packed_families() {
  std::vector<Family> families = families_to_test();
  std::erase_if(families, [](const Family& family) {
    const auto has = [&family](const char* part) { return family.folder.find(part) != std::string::npos; };
    // Columns out of order are decoded instead.
    return has("act-order") || !(has("awq") || has("gptq") || has("nf4"));
  });
  return families;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PackedParity);
INSTANTIATE_TEST_SUITE_P(Goldens, PackedParity, ::testing::ValuesIn(packed_families()), title);

INSTANTIATE_TEST_SUITE_P(Goldens, Parity, ::testing::ValuesIn(families_to_test()), title);

TEST(Generation, ChatRendersToTheGoldenPromptAndStreamsTheGoldenText) {
  const Golden golden(goldens / "llava-1.5");
  const auto& golden_case = golden.cases().at(0);
  Engine engine(options_for("llava-1.5"));
  Request request;
  request.messages = {
      {Role::user,
       "Describe the picture.",
       {load_image(goldens / "images/wide.jpg", {.limits = {}, .exif = ExifOrientation::ignore})}}};
  request.sampling.max_new_tokens = n_new_tokens;
  request.sampling.ignore_end = true;
  std::string streamed;
  const Completion completion = engine.generate(request, [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  EXPECT_EQ(completion.text, golden_case.at("text").get<std::string>());
  EXPECT_EQ(streamed, completion.text);
  EXPECT_EQ(completion.finish, FinishReason::max_new_tokens);
  EXPECT_EQ(completion.prompt_tokens,
            static_cast<std::int64_t>(golden.tensor("wide.input_ids").integers().size()));
}

TEST(Generation, ReusesWhatTwoRequestsShareAndAnswersTheSame) {
  Engine engine(options_for("llava-1.5"));
  const Image picture = load_image(goldens / "images/square.png");
  Request request;
  request.messages = {{Role::user, "What is this?", {picture}}};
  request.sampling.max_new_tokens = 8;
  request.sampling.ignore_end = true;
  const Completion fresh = engine.generate(request);
  EXPECT_EQ(fresh.cached_tokens, 0);
  request.reuse = PrefixReuse::cached;
  const Completion again = engine.generate(request);
  EXPECT_EQ(again.cached_tokens, again.prompt_tokens - 1);
  EXPECT_EQ(again.timing.encode_seconds, 0);
  EXPECT_EQ(again.text, fresh.text);

  request.messages[0].images = {load_image(goldens / "images/tall.png")};
  const Completion other = engine.generate(request);
  EXPECT_LT(other.cached_tokens, 8) << "another picture must not be taken for the first";
  EXPECT_GT(other.timing.encode_seconds, 0);
}

TEST(Generation, RequestsChooseAmongAdapters) {
  const std::string folder = "llava-1.5-lora";
  if (!std::filesystem::exists(goldens / folder)) GTEST_SKIP() << folder << " is not there";
  Engine engine(options_for(folder));
  const Golden golden(goldens / folder);
  const Golden base(goldens / "llava-1.5");
  Request request = request_of(golden.cases().at(0));
  EXPECT_EQ(find(engine.trace(request), "generated_ids")->integers,
            integers(golden.tensor("wide.generated_ids")));
  request.adapter = "";
  EXPECT_EQ(find(engine.trace(request), "generated_ids")->integers,
            integers(base.tensor("wide.generated_ids")));
  request.adapter = folder;
  EXPECT_EQ(find(engine.trace(request), "generated_ids")->integers,
            integers(golden.tensor("wide.generated_ids")));
  request.adapter = "other";
  EXPECT_NE(test::error_of(ErrorCode::usage, [&] { engine.trace(request); }).find("llava-1.5-lora"),
            std::string::npos);
}

TEST(Generation, AMergedAdapterGivesWhatOneKeptApartGives) {
  const std::string folder = "llava-1.5-lora";
  if (!std::filesystem::exists(goldens / folder)) GTEST_SKIP() << folder << " is not there";
  EngineOptions options = options_for(folder);
  std::swap(options.adapters, options.merged_adapters);
  check_folder(folder, options, {}, true);
}

TEST(Generation, TheCallerCanStopIt) {
  Engine engine(options_for("text-llama"));
  Request request;
  request.messages = {{Role::user, "The quick brown fox", {}}};
  request.sampling.ignore_end = true;
  const Completion completion = engine.generate(request, [](std::string_view) { return false; });
  EXPECT_EQ(completion.finish, FinishReason::stopped_by_caller);
  EXPECT_LT(completion.token_ids.size(), 8U);
}

TEST(Generation, PromptsThatCannotBeAreRefusedAndTheEngineGoesOn) {
  EngineOptions options = options_for("llava-1.5");
  options.context = 40;
  Engine engine(options);
  Request request;
  request.sampling.max_new_tokens = 2;
  request.messages = {{Role::user, std::string(500, 'x'), {}}};
  EXPECT_NE(test::error_of(ErrorCode::input, [&] { engine.generate(request); }).find("context of 40"),
            std::string::npos);
  request.messages = {{Role::user, "<image> <image>", {load_image(goldens / "images/square.png")}}};
  test::error_of(ErrorCode::input, [&] { engine.generate(request); });
  request.messages = {{Role::user, "Hi", {}}};
  request.sampling.temperature = -1;
  test::error_of(ErrorCode::usage, [&] { engine.generate(request); });
  request.sampling.temperature = 0;
  EXPECT_NO_THROW(engine.generate(request));
}

TEST(Generation, TextModelsRefusePictures) {
  Engine engine(options_for("text-llama"));
  Request request;
  request.messages = {{Role::user, "Hi", {load_image(goldens / "images/square.png")}}};
  EXPECT_NE(test::error_of(ErrorCode::input, [&] { engine.generate(request); }).find("cannot see"),
            std::string::npos);
}

}  // namespace
}  // namespace galago::testing

// Known shapes: every one can be planned, has the published number of parameters, and runs on invented
// weights.
#include "runtime/load/shape_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "backend/cpu/cpu_backend.h"
#include "galago/galago.h"
#include "runtime/executor.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"
#include "tensor/convert.h"

namespace galago::testing {
namespace {

std::int64_t parameters(std::string_view name) {
  std::int64_t sum = 0;
  for (const auto& [tensor, source] : runtime::model_of_shape(name).checkpoint.tensors) {
    sum += source.entry.shape.elements();
  }
  return sum;
}

TEST(Shapes, HaveThePublishedNumbersOfParameters) {
  // Of the models' cards and, for LLaMA, of arXiv:2302.13971 (6.7, 13.0, 32.5, 65.2 billion).
  EXPECT_EQ(parameters("llama-7b"), 6'738'415'616);
  EXPECT_EQ(parameters("llama-13b"), 13'015'864'320);
  EXPECT_EQ(parameters("llama-33b"), 32'528'943'616);
  EXPECT_EQ(parameters("llama-65b"), 65'285'660'672);
  EXPECT_EQ(parameters("smollm2-135m"), 134'515'008);
  EXPECT_EQ(parameters("tinyllama-1.1b"), 1'100'048'384);
  EXPECT_EQ(parameters("internvl2-1b"), 938'158'976);
  EXPECT_EQ(parameters("internvl2-2b"), 2'205'754'368);
  EXPECT_EQ(parameters("internvl2-4b"), 4'146'855'936);
  EXPECT_EQ(parameters("internvl2-8b"), 8'075'365'376);
  EXPECT_EQ(parameters("internvl2-26b"), 25'514'186'112);
  // Of these less the tower's last layer and norm, which are not used.
  EXPECT_EQ(parameters("llava-1.6-mistral-7b"), 7'566'747'648 - 12'598'272);
  EXPECT_EQ(parameters("llava-1.6-vicuna-7b"), 7'063'431'168 - 12'598'272);
  // 8.06 billion and Partial LoRA of rank 256.
  EXPECT_EQ(parameters("internlm-xcomposer2-vl-7b"), 8'666'838'016);
}

TEST(Shapes, EachIsPlanned) {
  for (const std::string& name : known_shape_names()) {
    SCOPED_TRACE(name);
    EngineOptions options;
    options.shape = name;
    options.workload = Workload{};
    const Plan plan = plan_model(options);
    EXPECT_GT(plan.regions.at(0).bytes, 100'000'000U);
    EXPECT_EQ(plan.model, "shape " + name);
    EXPECT_GT(plan.phases.back().flops, 0);
  }
}

TEST(Shapes, APromptIsCountedInTokens) {
  EngineOptions options;
  options.shape = "llava-1.5-7b";
  options.workload = Workload{"", 2, 10, 30};
  EXPECT_EQ(plan_model(options).context, 2 * 576 + 30 + 10);
  options.workload->n_images = 0;
  EXPECT_EQ(plan_model(options).context, 40);
  options.workload->text_tokens = 0;
  EXPECT_THROW(plan_model(options), Error);
}

TEST(Shapes, AreNotHeldAgainstThisMachineButAgainstAStatedLimit) {
  EngineOptions options;
  options.shape = "llama-65b";
  options.precision = Precision::fp32;
  EXPECT_GT(plan_model(options).peak_bytes, 250'000'000'000U);
  options.memory_limit = 1 << 30;
  EXPECT_THROW(plan_model(options), Error);
}

TEST(Shapes, CanNeitherBeRunNorMisspelt) {
  EngineOptions options;
  options.shape = "smollm2-135m";
  EXPECT_THROW(Engine{options}, Error);
  options.shape = "smollm-3b";
  try {
    plan_model(options);
    FAIL() << "an unknown shape was planned";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("smollm2-135m"), std::string::npos);
  }
}

/// A shape small enough to run: nothing in it is a multiple of 16.
checkpoint::KnownShape small_shape() {
  const Json text = {{"hidden_size", 60},        {"intermediate_size", 100}, {"num_hidden_layers", 3},
                     {"num_attention_heads", 5}, {"num_key_value_heads", 5}, {"vocab_size", 77}};
  const Json vision = {{"hidden_size", 36},        {"intermediate_size", 50}, {"num_hidden_layers", 3},
                       {"num_attention_heads", 3}, {"image_size", 28},        {"patch_size", 7}};
  return {"small",
          "",
          DType::f16,
          {{"config.json",
            {{"architectures", {"LlavaForConditionalGeneration"}},
             {"text_config", text},
             {"vision_config", vision}}}}};
}

TEST(Shapes, RunOnInventedWeightsInEveryPrecision) {
  for (const Precision precision :
       {Precision::automatic, Precision::fp32, Precision::fp16, Precision::bf16}) {
    EngineOptions options;
    options.precision = precision;
    options.context = 40;  // one prefill step fills it
    const runtime::Blueprint model = runtime::model_of_shape(small_shape());
    const auto backend = backend::make_cpu_backend(2);
    const runtime::Configuration configuration =
        runtime::configure(options, model.description, {0, runtime::largest_picture(model, std::nullopt)});
    const runtime::Rehearsal plan = runtime::rehearse(model, configuration, *backend);
    runtime::Executor executor(model.checkpoint, model.description, configuration, *backend,
                               runtime::reserve(plan, *backend));
    executor.encode(configuration.picture.n_tiles, {});
    std::vector<backend::PageId> pages(static_cast<std::size_t>(configuration.n_pages()));
    std::iota(pages.begin(), pages.end(), 0);
    std::vector<std::int32_t> ids(40);
    std::iota(ids.begin(), ids.end(), -16);  // the picture's 16 rows, then tokens
    executor.step(backend::Phase::prefill, ids, {0, 40, 0, pages}, 1);
    const Matrix logits = executor.logits();
    for (std::int64_t i = 0; i < logits.cols; ++i) EXPECT_TRUE(std::isfinite(logits.row(0)[i]));
    EXPECT_NE(logits.row(0)[0], logits.row(0)[1]);
    EXPECT_EQ(executor.arena().high_water(), plan.regions());
  }
}

TEST(Shapes, InventedValuesAreOfTheSizeThatTheirShapeAsksFor) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    std::vector<std::byte> bytes(1001 * size_of(dtype));
    std::vector<float> values(1001);
    runtime::invent_values({13, 4096}, dtype, 7, bytes);
    to_f32(dtype, bytes, values);
    for (const float value : values) {
      EXPECT_GE(std::abs(value), 1.0F / 128);
      EXPECT_LT(std::abs(value), 1.0F / 64);
    }
  }
}

}  // namespace
}  // namespace galago::testing

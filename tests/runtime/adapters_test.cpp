// Adapters take the memory that was planned, whichever of them a step goes through, and only it changes what
// is computed.
#include "runtime/load/adapters.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/cpu/cpu_backend.h"
#include "checkpoint/scratch.h"
#include "galago/quantize.h"
#include "runtime/executor.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"
#include "support/random.h"

namespace galago::runtime {
namespace {

const std::filesystem::path base = std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama";

/// Writes factors for one projection of each half of a layer of text-llama.
void write_adapter(const std::filesystem::path& directory, std::int64_t rank) {
  std::string config = R"({"peft_type":"LORA","lora_alpha":4,"r":)";
  test::write_text(directory / "adapter_config.json", config.append(std::to_string(rank)).append("}"));
  const auto values = testing::random_floats(static_cast<std::size_t>(256 * rank), 1);
  const auto bytes = std::as_bytes(std::span(values));
  const auto tensor = [&](const char* name, std::int64_t rows, std::int64_t columns) {
    std::string full = "base_model.model.model.layers.1.";
    return checkpoint::TensorToWrite{full.append(name).append(".weight"),
                                     DType::f32,
                                     {rows, columns},
                                     bytes.first(static_cast<std::size_t>(rows * columns) * 4)};
  };
  checkpoint::write_safetensors(
      directory / "adapter_model.safetensors",
      std::vector{tensor("self_attn.v_proj.lora_A", rank, 128), tensor("self_attn.v_proj.lora_B", 64, rank),
                  tensor("mlp.up_proj.lora_A", rank, 128), tensor("mlp.up_proj.lora_B", 256, rank)});
}

class Adapters : public ::testing::Test {
 protected:
  Adapters() {
    write_adapter(scratch_ / "small", 2);
    write_adapter(scratch_ / "large", 70);
    add_adapters(files_, std::vector{scratch_ / "small", scratch_ / "large"});
  }

  test::Scratch scratch_;
  ModelFiles files_ = open_model(base);
};

TEST_F(Adapters, TakeWhatWasPlannedWhicheverIsUsed) {
  EngineOptions options;
  options.context = 32;
  options.prefill_chunk = 32;
  const auto backend = backend::make_cpu_backend(2);
  const Configuration configuration =
      configure(options, files_.description, {0, largest_picture(files_, std::nullopt)});
  const Rehearsal plan = rehearse(files_, configuration, *backend);
  std::vector<std::vector<float>> logits;
  for (const std::optional<std::size_t> adapter :
       {std::optional<std::size_t>(), std::optional<std::size_t>(0), std::optional<std::size_t>(1)}) {
    Executor executor(files_.checkpoint, files_.description, configuration, *backend,
                      reserve(plan, *backend));
    executor.use_adapter(adapter);
    const std::vector<std::int32_t> ids(32, 5);
    const std::vector<backend::PageId> pages{0, 1};
    executor.step(backend::Phase::prefill, ids, {0, 32, 0, pages}, 1);
    const Matrix out = executor.logits();
    EXPECT_EQ(executor.arena().high_water(), plan.regions());
    logits.emplace_back(out.row(0), out.row(0) + out.cols);
  }
  EXPECT_NE(logits[0], logits[1]);
  EXPECT_NE(logits[1], logits[2]);
}

TEST_F(Adapters, AreChosenByTheLastPartOfTheirDirectory) {
  const model::DecoderShape& decoder = files_.description.decoder;
  Request request;
  EXPECT_EQ(adapter_of(decoder, request), 0U) << "the first one listed";
  request.adapter = "large";
  EXPECT_EQ(adapter_of(decoder, request), 1U);
  request.adapter = "";
  EXPECT_EQ(adapter_of(decoder, request), std::nullopt);
  request.adapter = "tiny";
  test::expect_says(test::error_of(ErrorCode::usage, [&] { adapter_of(decoder, request); }), "small, large");
}

TEST_F(Adapters, OfOneNameAreRefused) {
  const std::vector again{scratch_ / "elsewhere/small/"};
  write_adapter(again.front(), 3);
  test::expect_says(test::error_of(ErrorCode::usage, [&] { add_adapters(files_, again); }), "called small");
}

/// What a prompt of 32 equal tokens makes of the last position, and the memory that it took.
struct Answer {
  std::vector<float> logits;
  memory::RegionSizes regions;
};

Answer answer_of(const ModelFiles& files, std::optional<std::size_t> adapter, Precision precision) {
  EngineOptions options;
  options.context = options.prefill_chunk = 32;
  options.precision = precision;
  const auto backend = backend::make_cpu_backend(2);
  const Configuration configuration =
      configure(options, files.description, {0, largest_picture(files, std::nullopt)});
  const Rehearsal plan = rehearse(files, configuration, *backend);
  Executor executor(files.checkpoint, files.description, configuration, *backend, reserve(plan, *backend));
  executor.use_adapter(adapter);
  const std::vector<std::int32_t> ids(32, 5);
  const std::vector<backend::PageId> pages{0, 1};
  executor.step(backend::Phase::prefill, ids, {0, 32, 0, pages}, 1);
  const Matrix out = executor.logits();
  EXPECT_EQ(executor.arena().high_water(), plan.regions());
  return {{out.row(0), out.row(0) + out.cols}, plan.regions()};
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max<double>(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST_F(Adapters, GiveTheSameMergedAsKeptApart) {
  ModelFiles merged = open_model(base);
  merge_adapters(merged, std::vector{scratch_ / "large"});
  const Answer apart = answer_of(files_, 1, Precision::fp32);
  const Answer together = answer_of(merged, std::nullopt, Precision::fp32);
  EXPECT_LT(largest_difference(apart.logits, together.logits), 1e-4);
  EXPECT_GT(largest_difference(answer_of(files_, std::nullopt, Precision::fp32).logits, together.logits),
            1e-2);
  const Answer plain = answer_of(open_model(base), std::nullopt, Precision::fp32);
  const auto weights = static_cast<std::size_t>(memory::RegionId::weights);
  EXPECT_EQ(together.regions[weights], plain.regions[weights]) << "merged ones take no memory";
}

TEST_F(Adapters, AddUpWhenSeveralAreMergedAndAreMergedBeforeRounding) {
  ModelFiles twice = open_model(base);
  write_adapter(scratch_ / "again/large", 70);
  merge_adapters(twice, std::vector{scratch_ / "large", scratch_ / "again/large"});
  ModelFiles once = open_model(base);
  merge_adapters(once, std::vector{scratch_ / "large"});
  for (auto& [matrix, merges] : once.checkpoint.merges) merges.front().scale *= 2;
  for (const Precision precision : {Precision::fp32, Precision::int8}) {
    EXPECT_LT(largest_difference(answer_of(twice, std::nullopt, precision).logits,
                                 answer_of(once, std::nullopt, precision).logits),
              1e-3);
  }
  const std::vector<float> exact = answer_of(once, std::nullopt, Precision::fp32).logits;
  const double change = largest_difference(exact, answer_of(files_, std::nullopt, Precision::fp32).logits);
  EXPECT_LT(largest_difference(exact, answer_of(once, std::nullopt, Precision::int8).logits), change / 4);
}

TEST_F(Adapters, OfPackedWeightsStayBesideThem) {
  ModelFiles packed = open_model(base.parent_path() / "text-llama-awq");
  checkpoint::Checkpoint& checkpoint = packed.checkpoint;
  const auto shape = [&](const char* matrix) {
    return checkpoint.tensors.at(std::string("decoder.1.") + matrix + ".weight").shape;
  };
  const auto values = testing::random_floats(4096, 2);
  const auto tensor = [&](const char* name, std::int64_t rows, std::int64_t columns) {
    return checkpoint::TensorToWrite{
        std::string("base_model.model.model.layers.1.self_attn.v_proj.").append(name),
        DType::f32,
        {rows, columns},
        std::as_bytes(std::span(values)).first(static_cast<std::size_t>(rows * columns) * 4)};
  };
  checkpoint::write_safetensors(scratch_ / "small/adapter_model.safetensors",
                                std::vector{tensor("lora_A.weight", 2, shape("attn.v")[1]),
                                            tensor("lora_B.weight", shape("attn.v")[0], 2)});
  merge_adapters(packed, std::vector{scratch_ / "small"});
  EXPECT_TRUE(checkpoint.merges.empty());
  ASSERT_EQ(packed.description.decoder.adapters.size(), 1U);
  EXPECT_EQ(adapter_of(packed.description.decoder, Request()), 0U);
  EXPECT_GT(largest_difference(answer_of(packed, 0, Precision::automatic).logits,
                               answer_of(packed, std::nullopt, Precision::automatic).logits),
            1e-3);
  test::expect_says(
      test::error_of(ErrorCode::usage, [&] { merge_adapters(packed, std::vector{scratch_ / "small"}); }),
      "must be the only adapter");
}

TEST_F(Adapters, OfBlocksThatStayPackedStayBesideThem) {
  quantize_model({base, scratch_ / "packed.gguf", Precision::int4, QuantizedFormat::gguf});
  ModelFiles packed = open_model(scratch_ / "packed.gguf");
  ASSERT_TRUE(packed.checkpoint.tensors.at("decoder.1.attn.v.weight").format().is_grouped());
  merge_adapters(packed, std::vector{scratch_ / "large"});
  EXPECT_TRUE(packed.checkpoint.merges.empty());
  ASSERT_EQ(packed.description.decoder.adapters.size(), 1U);
  // What the adapter adds is whole: as much as it adds to the same weights before they were rounded.
  const auto change = [](const ModelFiles& files, std::size_t adapter) {
    return largest_difference(answer_of(files, adapter, Precision::fp32).logits,
                              answer_of(files, std::nullopt, Precision::fp32).logits);
  };
  EXPECT_NEAR(change(packed, 0), change(files_, 1), change(files_, 1) / 4);
}

TEST_F(Adapters, ThatAreMergedAreHeldToTheBasesShapes) {
  ModelFiles merged = open_model(base);
  merge_adapters(merged, std::vector{scratch_ / "large"});
  merged.checkpoint.tensors.at("merged.0.decoder.1.mlp.up.b").shape = {250, 70};
  const auto backend = backend::make_cpu_backend(1);
  const Configuration configuration =
      configure({}, merged.description, {0, largest_picture(merged, std::nullopt)});
  const std::string sentence =
      test::error_of(ErrorCode::model, [&] { rehearse(merged, configuration, *backend); });
  test::expect_says(sentence,
                    "large/adapter_model.safetensors: tensor base_model.model.model.layers.1.mlp.up_proj");
  test::expect_says(sentence, "has shape [250, 70], the configuration asks for [256, 70]");
}

double prefill_flops(const ModelFiles& files, const Configuration& configuration) {
  const auto backend = backend::make_cpu_backend(1);
  return rehearse(files, configuration, *backend).stages.front().ledger.total(backend::Phase::prefill).flops;
}

TEST_F(Adapters, CountInAPlansCosts) {
  EngineOptions options;
  options.context = 32;
  const Configuration configuration = configure(options, files_.description, {0, {}});
  const double plain = prefill_flops(open_model(base), configuration);
  // The larger one: rank 70 beside a 64 x 128 and a 256 x 128 matrix, for 32 rows; little is added for scales
  // and gates.
  const double products = 2.0 * 32 * 70 * (128 + 64 + 128 + 256);
  EXPECT_GE(prefill_flops(files_, configuration) - plain, products);
  EXPECT_LT(prefill_flops(files_, configuration) - plain, 1.1 * products);
}

TEST_F(Adapters, OfPicturesCountForTheRowsOfPictures) {
  const ModelFiles seeing = open_model(base.parent_path() / "internlm-xcomposer2-vl");
  EngineOptions options;
  options.workload = Workload{"", 2, 4};
  Configuration configuration =
      configure(options, seeing.description, {100, largest_picture(seeing, std::nullopt)});
  EXPECT_EQ(configuration.picture_rows, 2 * seeing.description.tokens_per_tile());
  const double both = prefill_flops(seeing, configuration);
  configuration.picture_rows /= 2;
  const double one = prefill_flops(seeing, configuration);
  configuration.picture_rows = 0;
  const double none = prefill_flops(seeing, configuration);
  EXPECT_GT(one, none);
  EXPECT_DOUBLE_EQ(both - one, one - none);
}

TEST_F(Adapters, WhoseFactorsDoNotFitTheBaseAreRefusedByAPlan) {
  files_.checkpoint.tensors.at("lora.0.decoder.1.attn.v.a").shape = {2, 64};
  const auto backend = backend::make_cpu_backend(1);
  const Configuration configuration =
      configure({}, files_.description, {0, largest_picture(files_, std::nullopt)});
  test::expect_says(test::error_of(ErrorCode::model, [&] { rehearse(files_, configuration, *backend); }),
                    "v_proj.lora_A");
}

}  // namespace
}  // namespace galago::runtime

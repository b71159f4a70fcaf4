// Adapters take the memory that was planned, whichever of them a step goes through, and only it changes what
// is computed.
#include "runtime/adapters.h"

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "checkpoint/scratch.h"
#include "runtime/executor.h"
#include "runtime/pictures.h"
#include "runtime/planner.h"
#include "support/random.h"

namespace galago::runtime {
namespace {

const std::filesystem::path base = std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama";

/// Writes factors for one projection of each half of a layer.
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
  const memory::RegionSizes plan = rehearse(files_, configuration, *backend).regions;
  std::vector<std::vector<float>> logits;
  for (const std::optional<std::size_t> adapter :
       {std::optional<std::size_t>(), std::optional<std::size_t>(0), std::optional<std::size_t>(1)}) {
    Executor executor(files_.checkpoint, files_.description, configuration, *backend,
                      memory::Arena::reserved(plan));
    executor.use_adapter(adapter);
    const std::vector<std::int32_t> ids(32, 5);
    const std::vector<backend::PageId> pages{0, 1};
    const Matrix out = executor.step(backend::Phase::prefill, ids, {0, 32, 0, pages}, 1);
    EXPECT_EQ(executor.arena().high_water(), plan);
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

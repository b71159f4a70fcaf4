// A model written in fewer bits is the model that loading it in those bits gives; nothing is left of a
// failure.
#include "galago/quantize.h"

#include <gtest/gtest.h>

#include "checkpoint/scratch.h"
#include "galago/galago.h"

namespace galago {
namespace {

const std::filesystem::path text_llama = std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama";

std::vector<float> logits(const std::filesystem::path& model, Precision precision) {
  EngineOptions options;
  options.model = model;
  options.precision = precision;
  options.context = 64;
  options.threads = 1;
  options.logits = LogitRows::all;
  Request request;
  request.form = PromptForm::raw;
  request.messages = {{Role::user, "The quick brown fox", {}}};
  request.sampling.max_new_tokens = 1;
  for (const TraceTensor& tensor : Engine(options).trace(request)) {
    if (tensor.name == "logits") return tensor.floats;
  }
  return {};
}

class Quantize : public ::testing::TestWithParam<Precision> {};

TEST_P(Quantize, WritesWhatLoadingInFewerBitsGives) {
  const test::Scratch scratch;
  const std::filesystem::path out = scratch / "out";
  quantize_model({text_llama, out, GetParam()});
  const auto written = logits(out, Precision::automatic);
  ASSERT_FALSE(written.empty());
  EXPECT_EQ(written, logits(text_llama, GetParam()));
  EXPECT_LT(std::filesystem::file_size(out / "model.safetensors"),
            std::filesystem::file_size(text_llama / "model.safetensors") *
                (GetParam() == Precision::int4 ? 50 : 70) / 100);
  EXPECT_TRUE(inspect_model(out).missing.empty());
}

INSTANTIATE_TEST_SUITE_P(Precisions, Quantize, ::testing::Values(Precision::int8, Precision::int4));

TEST_P(Quantize, WritesGgufThatTakesWhatItsPlanSays) {
  const test::Scratch scratch;
  EngineOptions options;
  options.model = scratch / "out.gguf";
  options.context = 64;
  options.threads = 1;
  quantize_model({text_llama, options.model, GetParam(), QuantizedFormat::gguf});
  const Engine engine(options);
  for (const RegionUse& use : engine.memory()) {
    if (use.name != "weights" && use.name != "staging") continue;
    EXPECT_EQ(use.high_water, use.planned) << use.name;
    EXPECT_LT(use.planned, std::filesystem::file_size(options.model) * 12 / 10)
        << use.name;  // rows are filled up
  }
}

TEST(QuantizeErrors, NameWhatIsInTheWayAndLeaveNothing) {
  const test::Scratch scratch;
  test::write_text(scratch / "there" / "file", "x");
  test::expect_says(test::error_of(ErrorCode::usage,
                                   [&] {
                                     quantize_model({text_llama, scratch / "there", Precision::int8});
                                   }),
                    "exists already");
  test::error_of(ErrorCode::usage, [&] { quantize_model({text_llama, scratch / "new", Precision::fp16}); });
  test::error_of(ErrorCode::model, [&] {
    quantize_model({scratch / "none", scratch / "new", Precision::int4});
  });
  test::error_of(ErrorCode::io, [&] {
    quantize_model({text_llama, scratch / "no" / "new", Precision::int4});
  });
  EXPECT_FALSE(std::filesystem::exists(scratch / "new"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "new.part"));
}

}  // namespace
}  // namespace galago

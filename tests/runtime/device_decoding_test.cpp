// What decoding asks of CUDA devices, counted on the emulated ones: steps are repeated as recorded on each,
// and of what they compute tokens alone come to the host.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "galago/galago.h"
#include "simt/fault.h"
#include "simt/memory.h"

namespace galago {
namespace {

constexpr const char* both_emulated = "cuda-emulated:0,cuda-emulated:1";
constexpr std::int64_t hidden_size = 128;  // text-llama's

/// What an answer's steps came to.
struct Traffic {
  std::array<std::uint64_t, simt::n_devices> launches{};  // of graphs
  std::uint64_t bytes_to_host = 0;
};

Traffic counted() {
  Traffic traffic;
  for (int i = 0; i < simt::n_devices; ++i) {
    traffic.launches.at(static_cast<std::size_t>(i)) = simt::n_graph_launches(i);
  }
  traffic.bytes_to_host = simt::n_bytes_to_host();
  return traffic;
}

/// Of an answer of so many tokens by a new engine.
Traffic traffic_of(const std::string& device, const SamplingOptions& sampling, std::int64_t n_tokens) {
  EngineOptions options;
  options.model = std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama";
  options.device = device;
  options.context = 64;
  Engine engine(options);
  Request request;
  request.form = PromptForm::raw;
  request.messages = {{Role::user, "one word, another word", {}}};
  request.sampling = sampling;
  request.sampling.max_new_tokens = n_tokens;
  request.sampling.ignore_end = true;
  const Traffic before = counted();
  EXPECT_EQ(engine.generate(request).token_ids.size(), static_cast<std::size_t>(n_tokens));
  Traffic traffic = counted();
  for (std::size_t i = 0; i < traffic.launches.size(); ++i) traffic.launches[i] -= before.launches[i];
  traffic.bytes_to_host -= before.bytes_to_host;
  return traffic;
}

constexpr std::int64_t few = 4, more = 14;  // tokens

/// Of each step more, on average.
std::uint64_t bytes_to_host_of_a_step(const std::string& device, const SamplingOptions& sampling) {
  return (traffic_of(device, sampling, more).bytes_to_host -
          traffic_of(device, sampling, few).bytes_to_host) /
         (more - few);
}

TEST(DeviceDecoding, BringsATokenAStepToTheHostAndNoLogits) {
  const SamplingOptions greedy;
  SamplingOptions drawn;
  drawn.temperature = 0.8;
  drawn.top_k = 20;
  drawn.top_p = 0.9;
  drawn.repetition_penalty = 1.2;
  for (const SamplingOptions& sampling : {greedy, drawn}) {
    EXPECT_EQ(bytes_to_host_of_a_step("cuda-emulated", sampling), sizeof(std::int32_t));
    // With layers on two devices their rows pass through the host.
    EXPECT_EQ(bytes_to_host_of_a_step(both_emulated, sampling),
              sizeof(std::int32_t) + hidden_size * sizeof(float));
  }
}

TEST(DeviceDecoding, RepeatsItsStepsOnEveryDevice) {
  // The prompt's step gives the first token; of those after it the first is done launch by launch.
  const std::uint64_t repeated = more - 2;
  EXPECT_EQ(traffic_of("cuda-emulated:1", {}, more).launches, (std::array<std::uint64_t, 2>{0, repeated}));
  EXPECT_EQ(traffic_of(both_emulated, {}, more).launches, (std::array<std::uint64_t, 2>{repeated, repeated}));
}

}  // namespace
}  // namespace galago

// Weights kept in a file: a later start computes the same from it, and a file that is not sound is never
// used.
#include "runtime/load/packed_weights.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>

#include "checkpoint/scratch.h"
#include "galago/galago.h"

namespace galago::runtime {
namespace {

namespace fs = std::filesystem;

const fs::path goldens = GALAGO_GOLDENS_DIR;

std::string contents_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// What the engine logs at level warning while `action` runs.
template <class Action>
std::string warnings_of(Action&& action) {
  ::testing::internal::CaptureStdout();
  action();
  return ::testing::internal::GetCapturedStdout();
}

class Packed : public ::testing::Test {
 protected:
  fs::path file() const { return scratch_ / "weights.packed"; }

  EngineOptions options(const fs::path& model = goldens / "llava-1.5") const {
    EngineOptions options;
    options.model = model;
    options.packed = file();
    options.device = "cpu";
    options.threads = 2;
    options.context = 256;
    return options;
  }

  /// All logits of a prompt, and the most that each region had of a start of its own.
  using Answer = std::pair<std::vector<float>, std::vector<std::uint64_t>>;

  static EngineOptions all_logits(EngineOptions options) {
    options.logits = LogitRows::all;
    return options;
  }

  static Answer answer(const EngineOptions& options) {
    Engine engine(all_logits(options));
    return answer(engine);
  }

  static Answer answer(Engine& engine) {
    Request request;
    request.messages.push_back({Role::user, "Hello", {load_image(goldens / "images" / "wide.jpg")}});
    request.sampling.max_new_tokens = 2;
    Answer all;
    for (const TraceTensor& tensor : engine.trace(request)) {
      if (tensor.name == "logits") all.first = tensor.floats;
    }
    EXPECT_FALSE(all.first.empty());
    for (const RegionUse& region : engine.memory()) all.second.push_back(region.high_water);
    return all;
  }

  /// A start that must not use the file, says why, and writes it anew.
  void expect_refused(const EngineOptions& options, std::string_view reason) {
    const std::string before = contents_of(file());
    Answer computed;
    const std::string warnings = warnings_of([&] { computed = answer(options); });
    test::expect_says(warnings, file().string());
    test::expect_says(warnings, reason);
    EngineOptions without = options;
    without.packed.clear();
    EXPECT_EQ(computed, answer(without));
    EXPECT_NE(contents_of(file()), before);
    EXPECT_EQ(warnings_of([&] { EXPECT_EQ(answer(options), computed); }), "");  // sound again
  }

  static fs::path weights_of(const fs::path& model) {
    for (const auto& entry : fs::directory_iterator(model)) {
      const fs::path& path = entry.path();
      if (path.extension() == ".safetensors" && path.filename() != "golden.safetensors") return path;
    }
    return {};
  }

  /// Zeros behind the headers, as if nothing had been touched.
  static void lose_weights(const fs::path& model) {
    const fs::path weights = weights_of(model);
    const auto modified = fs::last_write_time(weights);
    const std::string before = contents_of(weights);
    std::uint64_t header = 0;
    std::memcpy(&header, before.data(), sizeof header);
    const std::size_t at = sizeof header + static_cast<std::size_t>(header);
    std::ofstream(weights, std::ios::binary) << before.substr(0, at) << std::string(before.size() - at, '\0');
    fs::last_write_time(weights, modified);
  }

  void damage(std::size_t at) {
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(stream.get() ^ 4);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(byte);
  }

  test::Scratch scratch_;
};

TEST_F(Packed, ALaterStartComputesTheSame) {
  for (const Precision precision : {Precision::automatic, Precision::int4}) {
    EngineOptions with = options();
    with.precision = precision;
    fs::remove(file());
    EngineOptions without = with;
    without.packed.clear();
    const Answer expected = answer(without);
    EXPECT_EQ(warnings_of([&] { EXPECT_EQ(answer(with), expected); }), "");
    const std::string written = contents_of(file());
    ASSERT_FALSE(written.empty());
    EXPECT_EQ(warnings_of([&] { EXPECT_EQ(answer(with), expected); }), "");
    EXPECT_EQ(contents_of(file()), written);
  }
}

TEST_F(Packed, HasTheSameBytesHoweverManyThreadsLoaded) {
  for (const char* model : {"llava-1.5", "internvl2-internlm2", "internlm-xcomposer2-vl", "text-llama-awq",
                            "text-llama-gptq", "text-llama-nf4", "text-phi3"}) {
    for (const Precision precision : {Precision::automatic, Precision::fp32, Precision::int8}) {
      std::string alone;
      for (const int threads : {1, 3}) {
        EngineOptions with = options(goldens / model);
        with.precision = precision;
        with.threads = threads;
        fs::remove(file());
        Engine engine(with);
        if (threads == 1) alone = contents_of(file());
      }
      EXPECT_EQ(contents_of(file()), alone) << model;
    }
  }
}

TEST_F(Packed, AnotherContextUsesTheSameFile) {
  answer(options());
  const std::string written = contents_of(file());
  EngineOptions longer = options();
  longer.context = 300;
  longer.kv = KvPrecision::int8;
  EXPECT_EQ(warnings_of([&] { answer(longer); }), "");
  EXPECT_EQ(contents_of(file()), written);
}

TEST_F(Packed, StreamedLayersComeFromTheModel) {
  EngineOptions streamed = options();
  streamed.streamed_layers = 1;
  EngineOptions without = streamed;
  without.packed.clear();
  const Answer expected = answer(without);
  for (int start = 0; start < 2; ++start) EXPECT_EQ(answer(streamed), expected);
}

TEST_F(Packed, AStagedTowerComesFromTheFileEachTime) {
  const fs::path model = scratch_ / "model";
  fs::copy(goldens / "llava-1.5", model);
  EngineOptions staged = options(model);
  staged.tower_placement = TowerPlacement::staged;
  staged.tower_precision = Precision::int8;
  EngineOptions without = staged;
  without.packed.clear();
  const Answer expected = answer(without);
  EXPECT_EQ(warnings_of([&] { EXPECT_EQ(answer(staged), expected); }), "");
  const std::string written = contents_of(file());
  ASSERT_FALSE(written.empty());
  // One where the tower stays has the same bytes.
  EngineOptions resident = staged;
  resident.tower_placement = TowerPlacement::resident;
  EXPECT_EQ(warnings_of([&] { EXPECT_EQ(answer(resident).first, expected.first); }), "");
  EXPECT_EQ(contents_of(file()), written);
  // Nobody notices that the model's own weights are gone.
  lose_weights(model);
  Engine engine(all_logits(staged));
  for (int request = 0; request < 2; ++request) {
    EXPECT_EQ(warnings_of([&] { EXPECT_EQ(answer(engine), expected); }), "");
  }
  EXPECT_EQ(contents_of(file()), written);
}

TEST_F(Packed, ATowerThatIsDamagedWhileTheModelRunsIsReadAndWrittenAnew) {
  EngineOptions staged = options();
  staged.tower_placement = TowerPlacement::staged;
  const Answer expected = answer(staged);
  const std::string written = contents_of(file());
  Engine engine(all_logits(staged));
  EXPECT_EQ(answer(engine), expected);
  damage(written.size() - 5000);  // the tower comes last
  test::expect_says(warnings_of([&] { EXPECT_EQ(answer(engine), expected); }),
                    "is damaged: a checksum of its weights is wrong; it is written anew");
  EXPECT_EQ(contents_of(file()), written);
  fs::remove(file());
  EXPECT_EQ(warnings_of([&] { EXPECT_EQ(answer(engine), expected); }), "");
  EXPECT_EQ(contents_of(file()), written);
}

TEST_F(Packed, ADamagedFileIsWrittenAnew) {
  answer(options());
  const auto size = static_cast<std::size_t>(fs::file_size(file()));
  damage(20);  // the header's length
  expect_refused(options(), "is damaged: its header");
  damage(200);
  expect_refused(options(), "is damaged: its header's checksum is wrong");
  damage(8);
  expect_refused(options(), "is of version 6, expected 2");
  for (const std::size_t at : {size - 5000, size / 2}) {
    damage(at);
    expect_refused(options(), "is damaged: a checksum of its weights is wrong");
  }
  for (const std::size_t left : {size - 1, size / 2, std::size_t{40}}) {
    fs::resize_file(file(), left);
    expect_refused(options(), "is damaged: it");
  }
}

TEST_F(Packed, AFileOfOtherPrecisionsOrAnotherModelIsWrittenAnew) {
  answer(options());
  EngineOptions other = options();
  other.precision = Precision::int8;
  expect_refused(other, "its precisions differ");
  expect_refused(options(goldens / "llava-1.6-vicuna"), "its files differ");
}

TEST_F(Packed, AChangedModelIsLoadedAnew) {
  const fs::path model = scratch_ / "model";
  fs::copy(goldens / "llava-1.5", model);
  const fs::path weights = weights_of(model);
  answer(options(model));
  fs::last_write_time(weights, fs::last_write_time(weights) + std::chrono::seconds(1));
  expect_refused(options(model), "its files differ");
}

TEST_F(Packed, SomebodyElsesFileIsLeftAlone) {
  test::write_text(file(), "dear diary");
  const std::string warnings = warnings_of([&] { answer(options()); });
  test::expect_says(warnings, "is no packed file of galago; it is left alone");
  EXPECT_EQ(contents_of(file()), "dear diary");
}

TEST_F(Packed, AFileThatCannotBeWrittenIsDoneWithout) {
  EngineOptions nowhere = options();
  nowhere.packed = scratch_ / "missing" / "weights.packed";
  test::expect_says(warnings_of([&] { answer(nowhere); }), "cannot be written");
  // A disk that is full after some of the file: the system limits what a file may have.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 100'000;
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string warnings = warnings_of([&] { answer(options()); });
  setrlimit(RLIMIT_FSIZE, &before);
  test::expect_says(warnings, "cannot be written: File too large; going on without a packed file");
  EXPECT_TRUE(fs::is_empty(scratch_.path()));  // nothing half written is left
}

TEST_F(Packed, IsRefusedWhereThereAreNoWeightsInTheHostsMemory) {
  EngineOptions shape = options();
  shape.model.clear();
  shape.shape = "llava-1.5-7b";
  test::expect_says(test::error_of(ErrorCode::usage, [&] { plan_model(shape); }),
                    "the shape llava-1.5-7b has none");
#ifdef GALAGO_WITH_EMULATED_CUDA
  EngineOptions device = options();
  for (const char* name : {"cuda-emulated", "cuda-emulated,cpu"}) {
    device.device = name;
    test::expect_says(test::error_of(ErrorCode::usage, [&] { plan_model(device); }),
                      "for models on the CPU alone");
  }
#endif
}

}  // namespace
}  // namespace galago::runtime

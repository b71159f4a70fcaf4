// A loaded model that answers requests. An Engine is not thread-safe: use it from one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "galago/error.h"
#include "galago/image.h"
#include "galago/options.h"
#include "galago/plan.h"
#include "galago/report.h"

namespace galago {

enum class Role { system, user, assistant };

/// One turn of a conversation. "<image>" in the text says where a picture stands; where the text has none,
/// the pictures come first.
struct Message {
  Role role = Role::user;
  std::string text;
  std::vector<Image> images;
};

enum class PromptForm {
  chat,  ///< `messages` go through the model's chat format
  raw,   ///< the text of the one message is the prompt as it is, special tokens in it included
};

/// Whether keys and values that other requests left in the cache, or are working with, are taken over as far
/// as the prompts agree: pages of the same beginning are there once. Sums may then be made in another order,
/// so the last bits of a reused prompt can differ from a fresh one's.
enum class PrefixReuse { none, cached };

struct Request {
  std::vector<Message> messages;
  PromptForm form = PromptForm::chat;
  PrefixReuse reuse = PrefixReuse::none;
  /// Which of EngineOptions::adapters answers, by name; none: the first one listed; empty: the model alone.
  std::optional<std::string> adapter;
  SamplingOptions sampling;
};

enum class FinishReason { end_of_text, max_new_tokens, stop_string, context_full, stopped_by_caller };

struct Timing {
  double preprocess_seconds = 0;  ///< pictures to pixel values
  double encode_seconds = 0;      ///< vision tower and projector
  double prefill_seconds = 0;
  double decode_seconds = 0;

  Timing& operator+=(const Timing& other);
};

struct Completion {
  std::string text;
  std::vector<std::int32_t> token_ids;  ///< generated ones
  std::int64_t prompt_tokens = 0;       ///< image tokens included
  std::int64_t cached_tokens = 0;       ///< of those, taken from the KV cache as other requests left it
  FinishReason finish = FinishReason::end_of_text;
  Timing timing;
};

/// Called with each new piece of text (whole UTF-8 sequences); returning false stops the generation.
using OnText = std::function<bool(std::string_view piece)>;

/// One of several requests.
struct Task {
  Request request;
  OnText on_text{};
};
/// Supplies the next task, or nothing: there are no more. A task's pictures are let go when they are encoded.
using NextTask = std::function<std::optional<Task>()>;

/// What became of a task.
struct Outcome {
  std::size_t task = 0;                  ///< in the order in which they were supplied, from 0
  std::optional<Completion> completion;  ///< none: it failed
  std::optional<Error> error;
};
/// Called as soon as a task's outcome is known. False: no further one is begun, those in work are finished.
using OnOutcome = std::function<bool(const Outcome& outcome)>;

/// A stage's values, for comparison with other implementations. Exactly one of the vectors is filled.
struct TraceTensor {
  std::string name;  ///< input_ids, pixel_values, tower_features, image_embeddings, logits, generated_ids
  std::vector<std::int64_t> shape;
  std::vector<float> floats;
  std::vector<std::int64_t> integers;
};
using Trace = std::vector<TraceTensor>;

class Engine {
 public:
  /// Loads the model into exactly the memory that plan_model() states. Throws Error{model, memory, usage}.
  explicit Engine(const EngineOptions& options);
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  const Plan& plan() const;
  std::vector<RegionUse> memory() const;
  /// Memory by part and by phase up to now.
  MemoryReport memory_report() const;

  /// From now on every operation is timed, which costs a little time itself.
  void start_profile();
  /// Times of all requests since start_profile(); fractions of ceilings are filled in by hold_against().
  Profile profile() const;

  /// Answers a request.
  /// Throws Error{input} for a prompt that cannot be used or is longer than the context, Error{usage} for
  /// sampling options out of range. The engine stays usable. After a DeviceError it does not: another one, on
  /// the CPU, may take its place.
  Completion generate(const Request& request, const OnText& on_text = {});

  /// Answers tasks, up to EngineOptions::batch at once as far as there are pages for them: those steps of
  /// decoding are one. Where the tower is staged, it encodes the pictures of several tasks before it leaves.
  /// An Error{input} is its task's outcome; others are thrown, when what was done before has been told.
  void generate_all(const NextTask& next, const OnOutcome& on_outcome);

  /// Runs the request greedily for exactly `request.sampling.max_new_tokens` tokens, the end of the text
  /// ignored, and returns every stage. `logits` are those of all prompt tokens.
  Trace trace(const Request& request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Peak resident memory of this process in bytes, by the operating system's account (VmHWM).
std::uint64_t peak_resident_bytes();

/// Writes a trace as safetensors. Throws Error{io}.
void save_trace(const Trace& trace, const std::filesystem::path& file);

/// A tokenizer without its model.
enum class SpecialTokens { add, none };
class TextTokenizer {
 public:
  explicit TextTokenizer(const std::filesystem::path& model);
  ~TextTokenizer();
  std::vector<std::int32_t> encode(std::string_view text, SpecialTokens special) const;
  std::string decode(const std::vector<std::int32_t>& ids) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// How a checkpoint's tensor is accounted for.
struct InspectedTensor {
  std::string name;       ///< in the file
  std::string canonical;  ///< what Galago calls it; empty unless used
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
  std::string note;  ///< why it is ignored; empty if used
};

struct Inspection {
  std::string model;
  std::string family;
  std::string chat_format;
  std::string configuration;    ///< canonical, as JSON
  std::string instruction_set;  ///< of the kernels that this machine would use
  std::uint64_t parameters = 0;
  std::vector<InspectedTensor> used, ignored, unknown;
  std::vector<std::string> missing;  ///< canonical names that the configuration asks for
};

/// Reads headers and configuration only. Throws Error{model} where they cannot be read; missing tensors are
/// reported. `mmproj` as in EngineOptions.
Inspection inspect_model(const std::filesystem::path& model, const std::filesystem::path& mmproj = {});

/// The directory of the demo model: GALAGO_DEMO_MODEL, beside the installed program, or in the source tree.
std::filesystem::path demo_model();

}  // namespace galago

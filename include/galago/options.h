// What a caller can choose: how a model is loaded, and how text is generated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace galago {

/// Storage type of the weights in memory. `automatic` keeps the checkpoint's own. int8 and int4 are made
/// while loading, in groups of 32; weights that the checkpoint stores in as few bits stay as they are.
/// Arithmetic sums in FP32 throughout.
enum class Precision { automatic, fp32, fp16, bf16, int8, int4 };

/// Storage type of keys and values. `automatic`: FP32 where the decoder's weights were asked for in FP32,
/// else FP16. `int8` and `int4`: quantised as they are computed, in groups of 32 within a head
/// (docs/formats.md).
enum class KvPrecision { automatic, fp32, fp16, int8, int4 };

/// What products compute in on a CPU. `automatic`: activations are rounded where that is several times
/// faster, to int8 in groups of 32 beside weights of 4 bits (8 where the machine has VNNI). Where it has
/// AVX-512 BF16, products of many rows and attention round their operands to BF16
/// (docs/benchmarks/quantisation.md has what that costs). `fp32`: weights are widened, exact to rounding, and
/// slower.
enum class Compute { automatic, fp32 };

/// Whether the vision tower stays in memory. `staged`: it is loaded to encode a request's pictures, and its
/// memory then belongs to keys, values and activations until the next pictures come. `automatic`: resident,
/// unless a budget asks for the other.
enum class TowerPlacement { automatic, resident, staged };

/// Of a picture, in pixels.
struct PictureSize {
  std::int64_t width = 0;
  std::int64_t height = 0;
};

/// The requests a model is loaded for. Stating them makes the plan, and so the memory, as small as they
/// allow.
struct Workload {
  std::string prompt;         ///< the user's text of the longest request
  std::int64_t n_images = 1;  ///< pictures in one request
  std::int64_t max_new_tokens = 256;
  std::int64_t text_tokens =
      64;                ///< of the prompt, for known shapes: they have no tokenizer to count `prompt`
  std::string system{};  ///< the request's system text; empty: the chat format's own
  /// Of the pictures in their order, as far as they are known: tiles and tokens follow from them. Others are
  /// taken for the largest that the model makes of any picture.
  std::vector<PictureSize> image_sizes{};
  /// Requests of this kind that will come one after the other, as far as it is known: so many pictures can be
  /// encoded before a staged tower leaves.
  std::int64_t n_requests = 1;
};

/// Prompt tokens whose logits are computed: generating needs the last one's only, Engine::trace() needs all.
enum class LogitRows { last, all };

struct EngineOptions {
  std::filesystem::path model;   ///< a directory, or a name in the hub's cache or Ollama's; empty: demo model
  std::filesystem::path mmproj;  ///< the GGUF file with the vision tower of a model in another one; empty:
                                 ///< the one that a store has for it, or the only mmproj*.gguf beside it
  std::string shape;  ///< for plan_model(): a known shape (known_shape_names()) in place of `model`'s files
  /// A file that keeps the weights as they lie in memory, for one device that is the CPU: written by the
  /// first start, mapped by later ones with the same model and formats; empty: none. One that is damaged, or
  /// of other files or formats, is never used but written anew, and a warning says why.
  std::filesystem::path packed;
  std::string chat_format;  ///< a name of models/chat_formats.json; empty: the model's own format
  /// PEFT LoRA adapters of the decoder. They are kept beside the weights, so requests choose among them by
  /// the last part of the directory's name (Request::adapter).
  std::vector<std::filesystem::path> adapters;
  /// PEFT LoRA adapters that are added to the decoder's weights while loading, before those are rounded:
  /// every request goes through them all, and they take neither memory nor time afterwards. One of a model
  /// that is stored in 4 or 8 bits stays beside the weights instead, and must be the only adapter.
  std::vector<std::filesystem::path> merged_adapters;
  Precision precision = Precision::automatic;        ///< decoder and projector
  Precision tower_precision = Precision::automatic;  ///< vision tower; automatic: like the decoder
  /// Token embeddings and output layer; automatic: like the decoder, but in int8 where that is int4. A model
  /// may have one matrix for both.
  Precision embeddings_precision = Precision::automatic;
  Precision output_precision = Precision::automatic;
  KvPrecision kv = KvPrecision::automatic;
  Compute compute = Compute::automatic;
  /// Keys and values may take this fraction, 0 to 1, of what is left of the memory when everything else has
  /// its own. A context that nobody fixed gets shorter for it.
  std::optional<double> kv_limit;
  /// "auto" (a CUDA device where there is one, else the CPU), "cpu", "cuda", "cuda:N", or "cuda-emulated":
  /// the CUDA kernels on the CPU, for tests; for plans also a card (known_device_names()). Several, with
  /// commas between, have the decoder's layers spread over them in this order: tower, projector and
  /// embeddings lie on the first, the output layer on the last.
  std::string device = "auto";
  /// Bytes that each of several devices may have in use for the model; empty: what is free there, and on the
  /// CPU what the others leave.
  std::vector<std::uint64_t> split;
  int threads = 0;  ///< 0: one per core that the process may use
  std::int64_t context =
      0;  ///< tokens of prompt and answer; 0: what `workload` needs, else min(model's, 4096)
  /// Positions that a token sees, its own included, in every layer; 0: as many as the model has it see. Keys
  /// and values of positions that no token will see again give their memory to later ones, so that they take
  /// no more than those of sinks, window and prefill chunk, whatever the context is. So with a window that is
  /// the model's own where neither `context` nor `workload` says otherwise. Text that no window reaches any
  /// more is forgotten.
  std::int64_t window = 0;
  /// First positions that stay in sight beside the window (attention sinks, arXiv:2309.17453), without which
  /// most models lose the thread; empty: 4. Only with a window.
  std::optional<std::int64_t> sinks;
  std::int64_t prefill_chunk = 512;  ///< most tokens computed at once
  /// Most of them in a layer's MLP at once, whose wide rows then take no more memory than those of so many;
  /// 0: all, unless a budget asks for less.
  std::int64_t mlp_rows = 0;
  std::int64_t max_tiles = 0;   ///< most tiles a picture is cut into, the one of the whole picture included;
                                ///< 0: the model's own limit
  std::int64_t tile_batch = 0;  ///< most tiles in the vision tower at once; 0: as many as keep it busy
  TowerPlacement tower_placement = TowerPlacement::automatic;
  /// Layers of the decoder that are read from disk in every step, through two slots; 0: none, unless a budget
  /// asks for it.
  std::int64_t streamed_layers = 0;
  LogitRows logits = LogitRows::last;
  /// Most memory that pictures take outside the model while they are decoded and kept, as picture_needs()
  /// tells it: it becomes part of the plan. 0: pictures are in memory already.
  std::uint64_t picture_bytes = 0;
  /// What one more picture takes, to be decoded while the model works on the one before. It becomes part of
  /// the plan only where there is room for it beside everything else (Plan::decodes_ahead): no choice of a
  /// budget's depends on it.
  std::uint64_t next_picture_bytes = 0;
  std::int64_t batch = 1;      ///< requests that Engine::generate_all() decodes at once
  std::int64_t kv_tokens = 0;  ///< tokens of keys and values for all requests together, which limit how many
                               ///< are answered at once; 0: the context, for each of `batch`
  /// Pictures that are encoded before a staged tower leaves; 0: those of a request, or of several as
  /// Workload::n_requests tells, up to 16, as far as a budget has room for their embeddings.
  std::int64_t encode_batch = 0;
  std::uint64_t memory_limit =
      0;  ///< bytes for everything; what is not fixed here is chosen as the best that fits (docs/memory.md),
          ///< and Error{memory} is thrown where nothing does; 0: no budget but what the machine has free
  std::optional<Workload> workload;
};

struct SamplingOptions {
  double temperature = 0;  ///< 0: greedy
  std::int64_t top_k = 0;  ///< 0: all
  double top_p = 1;        ///< smallest set of tokens with at least this probability (arXiv:1904.09751)
  double min_p = 0;        ///< drops tokens below this fraction of the likeliest one's probability
  double repetition_penalty = 1;  ///< arXiv:1909.05858; 1: none
  std::uint64_t seed = 0;         ///< the same seed, model and options give the same text
  std::int64_t max_new_tokens = 256;
  bool ignore_end = false;        ///< go on past end-of-sequence tokens, for measurements
  std::vector<std::string> stop;  ///< the text ends before the first of these
};

}  // namespace galago

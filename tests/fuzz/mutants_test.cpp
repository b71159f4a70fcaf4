// Mutants of small valid files: every parser ends in success or in one sentence that names the file, soon,
// and without asking for memory by a number it did not check. GALAGO_MUTANTS is how many (10,000 in all where
// it is not set), GALAGO_MUTANTS_SEED the first seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "base/fail.h"
#include "fuzz/gguf_seeds.h"
#include "fuzz/largest_allocation.h"
#include "fuzz/mutate.h"
#include "fuzz/parsers.h"

namespace galago::fuzz {
namespace {

constexpr std::size_t max_allocation = std::size_t{64} << 20;
// Sanitizers on a busy machine take ten times what a parser does.
constexpr std::chrono::seconds max_time{5};
constexpr std::size_t max_sentence = 4000;
const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

/// A format's part of all mutants, in percent.
std::uint64_t share(std::uint64_t percent) {
  return from_environment("GALAGO_MUTANTS", 10000) * percent / 100;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What is wrong with how `parse` ended; empty when nothing is.
std::string complaint(const std::function<void()>& parse, std::string_view file_name) {
  std::string found;
  reset_largest_allocation();
  const auto begin = std::chrono::steady_clock::now();
  try {
    parse();
  } catch (const Error& error) {
    const std::string sentence = error.what();
    const bool one_line = std::none_of(sentence.begin(), sentence.end(),
                                       [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    if (!one_line || sentence.empty() || sentence.size() > max_sentence) {
      found = "not one printable line: " + sentence;
    } else if (sentence.find(file_name) == std::string::npos) {
      found = "does not name the file: " + sentence;
    } else if (error.code() == ErrorCode::internal) {
      found = "internal: " + sentence;
    }
  } catch (const std::exception& other) {
    found = std::string("another exception: ") + other.what();
  }
  if (std::chrono::steady_clock::now() - begin > max_time) found += " took too long";
  if (largest_allocation() > max_allocation) found += " allocated " + std::to_string(largest_allocation());
  return found;
}

/// Runs `check` for the seeds of this run; the first few complaints are told with their seeds.
void for_each_mutant(std::uint64_t count, const std::function<std::string(Random&)>& check) {
  const std::uint64_t first = from_environment("GALAGO_MUTANTS_SEED", 1);
  int told = 0;
  for (std::uint64_t seed = first; seed < first + count && told < 5; ++seed) {
    Random random(seed);
    const std::string found = check(random);
    if (found.empty()) continue;
    ADD_FAILURE() << "GALAGO_MUTANTS_SEED=" << seed << ": " << found;
    ++told;
  }
}

TEST(Mutants, SafetensorsHeaders) {
  std::string header = R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[3,5],)";
  header += R"("data_offsets":[0,60]},"b":{"dtype":"BF16","shape":[7],"data_offsets":[60,74]},)";
  header += R"("c":{"dtype":"U8","shape":[],"data_offsets":[74,75]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  file += header + std::string(75, 'w');
  ASSERT_EQ(complaint([&] { parse_safetensors(file); }, safetensors_name), "");
  for_each_mutant(share(15), [&](Random& random) {
    const std::string mutant = mutate_safetensors(file, random);
    return complaint([&] { parse_safetensors(mutant); }, safetensors_name);
  });
}

TEST(Mutants, Pictures) {
  std::vector<std::string> pictures;
  for (const auto& entry : std::filesystem::directory_iterator(goldens / "formats")) {
    const auto kind = entry.path().extension();
    if (kind != ".rgb" && kind != ".py") pictures.push_back(read(entry.path()));
  }
  std::sort(pictures.begin(), pictures.end());
  ASSERT_GT(pictures.size(), 10U);
  for_each_mutant(share(15), [&](Random& random) {
    const std::string mutant = mutate_bytes(random.pick(pictures), random);
    return complaint([&] { parse_image(mutant); }, image_name);
  });
}

TEST(Mutants, TokenizersOfOneJsonFile) {
  ScratchDirectory directory;
  const std::vector<std::string> files = {read(goldens / "tokenizers/internvl2-phi3/tokenizer.json"),
                                          read(goldens / "tokenizers/text-qwen2/tokenizer.json")};
  for_each_mutant(share(15), [&](Random& random) {
    directory.write("tokenizer.json", mutate_json(random.pick(files), random));
    return complaint([&] { parse_tokenizer(directory.path()); }, "tokenizer");
  });
}

TEST(Mutants, SentencePieceModels) {
  ScratchDirectory directory;
  const std::vector<std::string> files = {read(goldens / "text-llama/tokenizer.model"),
                                          read(goldens / "tokenizers/internvl2-internlm2/tokenizer.model")};
  for_each_mutant(share(15), [&](Random& random) {
    directory.write("tokenizer.model", mutate_protobuf(random.pick(files), random));
    return complaint([&] { parse_tokenizer(directory.path()); }, "tokenizer");
  });
}

/// A decoder alone and a pair, one of the files a mutant.
TEST(Mutants, GgufFiles) {
  ScratchDirectory directory;
  const std::string model = gguf_model();
  const std::string tower = gguf_tower();
  const std::filesystem::path path = directory.path() / "model.gguf";
  directory.write("model.gguf", model);
  directory.write("mmproj-seed.gguf", tower);
  ASSERT_EQ(complaint([&] { parse_model(path); }, "no file"), "");
  for_each_mutant(share(20), [&](Random& random) {
    const bool of_tower = random.one_in(3);
    const char* name = of_tower ? "mmproj-seed.gguf" : "model.gguf";
    directory.write(name, mutate_gguf(of_tower ? tower : model, random));
    std::string found = complaint([&] { parse_model(path); }, directory.path().filename().string());
    directory.write(name, of_tower ? tower : model);
    return found.empty() ? found : std::string(name) + ": " + found;
  });
}

using Files = std::map<std::string, std::string>;

/// The files of the committed checkpoints; of their weights the headers alone.
std::vector<Files> checkpoints() {
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(goldens)) {
    if (std::filesystem::exists(entry.path() / "config.json")) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  std::vector<Files> all;
  for (const auto& folder : folders) {
    Files files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("golden")) files[name] = read(entry.path());
    }
    all.push_back(std::move(files));
  }
  return all;
}

std::string mutate_file(const std::string& name, const std::string& bytes, Random& random) {
  if (name.ends_with(".json")) return mutate_json(bytes, random);
  if (name.ends_with(".safetensors")) return mutate_safetensors(bytes, random);
  return name.ends_with(".model") ? mutate_protobuf(bytes, random) : mutate_bytes(bytes, random);
}

/// config.json twice as often as the others: most of the decisions come from it.
std::string choose_file(const Files& files, Random& random) {
  if (random.one_in(2)) return "config.json";
  auto chosen = files.begin();
  std::advance(chosen, random.below(files.size()));
  return chosen->first;
}

/// Adapters and packings may be refused; what they are refused with is tested all the same.
bool loads(const std::filesystem::path& directory) {
  try {
    parse_model(directory);
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST(Mutants, WholeModels) {
  const std::vector<Files> all = checkpoints();
  ASSERT_GT(all.size(), 2U);
  const std::uint64_t rounds = share(15) / all.size();
  int loaded = 0;
  for (const Files& files : all) {
    ScratchDirectory directory;
    for (const auto& [name, bytes] : files) directory.write(name, bytes);
    loaded += loads(directory.path()) ? 1 : 0;
    for_each_mutant(rounds, [&](Random& random) {
      const std::string name = choose_file(files, random);
      directory.write(name, mutate_file(name, files.at(name), random));
      std::string found =
          complaint([&] { parse_model(directory.path()); }, directory.path().filename().string());
      directory.write(name, files.at(name));
      return found.empty() ? found : name + ": " + found;
    });
  }
  EXPECT_GE(loaded, 3) << "mutants of refused files test little";
}

TEST(Mutants, Adapters) {
  const std::filesystem::path base = goldens / "text-llama";
  const std::string module = "base_model.model.model.layers.1.mlp.down_proj.lora_";
  std::string header = "{\"" + module;
  header += R"(A.weight":{"dtype":"F32","shape":[2,256],"data_offsets":[0,2048]},")" + module;
  header += R"(B.weight":{"dtype":"F32","shape":[128,2],"data_offsets":[2048,3072]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string weights(8, '\0');
  weights[0] = static_cast<char>(header.size() % 256);
  weights[1] = static_cast<char>(header.size() / 256);
  weights.append(header).append(3072, '\0');
  const std::map<std::string, std::string> files = {
      {"adapter_config.json",
       R"({"peft_type":"LORA","r":4,"lora_alpha":8,"use_rslora":false,"bias":"none","target_modules":["down_proj"],)"
       R"("rank_pattern":{"layers\\.1\\.mlp.*":2},"alpha_pattern":{"(up|down)_proj":3}})"},
      {"adapter_model.safetensors", weights}};
  ScratchDirectory directory;
  for (const auto& [name, bytes] : files) directory.write(name, bytes);
  ASSERT_EQ(complaint([&] { parse_adapter(base, directory.path()); }, ""), "");
  parse_adapter(base, directory.path());
  for_each_mutant(share(5), [&](Random& random) {
    const std::string name = random.one_in(2) ? "adapter_config.json" : "adapter_model.safetensors";
    directory.write(name, mutate_file(name, files.at(name), random));
    std::string found = complaint([&] { parse_adapter(base, directory.path()); }, "adapter_");
    directory.write(name, files.at(name));
    return found.empty() ? found : name + ": " + found;
  });
}

}  // namespace
}  // namespace galago::fuzz

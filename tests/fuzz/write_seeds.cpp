// Writes small valid files as the first corpora of fuzzers, for formats whose goldens are large: FOLDER/gguf,
// FOLDER/safetensors.
#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <vector>

#include "checkpoint/safetensors.h"
#include "fuzz/gguf_seeds.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: write_seeds FOLDER\n";
    return 2;
  }
  using galago::DType;
  const std::filesystem::path folder = argv[1];
  std::ofstream(folder / "gguf/decoder", std::ios::binary) << galago::fuzz::gguf_model();
  std::ofstream(folder / "gguf/tower", std::ios::binary) << galago::fuzz::gguf_tower();
  static constexpr std::array<std::byte, 60> values{};
  const std::span<const std::byte> bytes(values);
  galago::checkpoint::write_safetensors(folder / "safetensors/one",
                                        std::vector<galago::checkpoint::TensorToWrite>{
                                            {"a.weight", DType::f32, {3, 5}, bytes},
                                        });
  galago::checkpoint::write_safetensors(folder / "safetensors/several",
                                        std::vector<galago::checkpoint::TensorToWrite>{
                                            {"a.weight", DType::bf16, {2, 3, 1, 5}, bytes},
                                            {"b", DType::i64, {7}, bytes.first(56)},
                                            {"c", DType::u8, {0}, {}},
                                        });
  return 0;
}

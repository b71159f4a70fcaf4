// Files are mapped, read and written whole, or the error says why not.
#include <sys/resource.h>

#include <csignal>

#include "base/file_map.h"
#include "base/file_write.h"
#include "checkpoint/scratch.h"

namespace galago {
namespace {

using test::error_of;
using test::expect_says;
using test::Scratch;
using test::write_text;

TEST(MappedFile, ShowsTheBytesAndMoves) {
  const Scratch scratch;
  write_text(scratch / "f", "abc");
  write_text(scratch / "empty", "");
  MappedFile first(scratch / "f");
  MappedFile second = std::move(first);
  ASSERT_EQ(second.bytes().size(), 3u);
  EXPECT_EQ(second.bytes()[2], std::byte{'c'});
  second = MappedFile(scratch / "empty");
  EXPECT_TRUE(second.bytes().empty());
}

TEST(MappedFile, SaysWhyItCannotOpen) {
  const Scratch scratch;
  expect_says(error_of(ErrorCode::io, [&] { MappedFile(scratch / "no"); }), "No such file");
  expect_says(error_of(ErrorCode::io, [&] { MappedFile{scratch.path()}; }), "is a directory");
  expect_says(error_of(ErrorCode::io, [] { MappedFile("/dev/null"); }), "special file");
}

TEST(ReadTextFile, HoldsToItsLimit) {
  const Scratch scratch;
  write_text(scratch / "f", "12345");
  EXPECT_EQ(read_text_file(scratch / "f", 5), "12345");
  expect_says(error_of(ErrorCode::io, [&] { read_text_file(scratch / "f", 4); }),
              "5 bytes long, expected at most 4");
}

TEST(WriteFile, KeepsWhatWasThereWhenWritingFails) {
  const Scratch scratch;
  write_text(scratch / "f", "before");
  const std::string large(100000, 'x');
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(large))};

  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string sentence = error_of(ErrorCode::io, [&] { write_file(scratch / "f", parts); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);

  expect_says(sentence, "cannot be written");
  EXPECT_EQ(read_text_file(scratch / "f", 100), "before");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), 1)
      << "a temporary file is left";
  write_file(scratch / "f", parts);
  EXPECT_EQ(read_text_file(scratch / "f", 1 << 20), large);
}

}  // namespace
}  // namespace galago

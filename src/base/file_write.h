// Writing a result file whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>

namespace galago {

/// Writes the parts one after the other to a temporary file beside `path` and renames it to `path` when
/// everything is on disk, so that a failure leaves what was there before. A path that exists and is no
/// regular file
/// (/dev/stdout, a pipe) is written directly. Throws ErrorCode::io with the system's reason (a full disk,
/// ...).
void write_file(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts);

/// The same for bytes that are made one after the other: `make` hands each part to the sink, which takes it
/// before it returns. What `make` throws leaves no file.
using ByteSink = std::function<void(std::span<const std::byte>)>;
void write_file(const std::filesystem::path& path, const std::function<void(const ByteSink&)>& make);

}  // namespace galago

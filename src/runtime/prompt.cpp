#include "runtime/prompt.h"

#include <string>
#include <string_view>

#include "base/fail.h"

namespace galago::runtime {
namespace {

/// FNV-1a (Fowler, Noll, Vo) over a picture's size and pixels, eight bytes at a time.
ContentKey content_hash(const Image& picture) {
  ContentKey hash = 14695981039346656037ULL;
  const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 1099511628211ULL; };
  mix(static_cast<std::uint64_t>(picture.width()));
  mix(static_cast<std::uint64_t>(picture.height()));
  for (const std::uint8_t byte : picture.pixels()) mix(byte);
  return hash;
}

/// The segments with the text that the family has for a picture in place of each mark.
text::Segments write_marks(text::Segments segments, std::string_view image_text) {
  for (text::Segment& segment : segments) {
    if (segment.literal) continue;
    for (std::size_t at = segment.text.find(image_mark); at != std::string::npos;
         at = segment.text.find(image_mark, at + image_text.size())) {
      segment.text.replace(at, image_mark.size(), image_text);
    }
  }
  return segments;
}

void check_can_see(const ModelFiles& files) {
  if (files.description.tower) return;
  fail(ErrorCode::input, "{} is a text model and cannot see pictures", files.checkpoint.directory.string());
}

std::vector<text::ChatMessage> chat_messages(const std::vector<Message>& messages) {
  std::vector<text::ChatMessage> chat;
  for (const Message& message : messages) {
    const text::ChatRole role = message.role == Role::system ? text::ChatRole::system
                                : message.role == Role::user ? text::ChatRole::user
                                                             : text::ChatRole::assistant;
    chat.push_back({role, message.text, static_cast<std::int64_t>(message.images.size())});
  }
  return chat;
}

/// The text before and after each "<image>" mark in a rendered prompt's own (not the user's literal) text.
std::vector<text::Segments> split_at_marks(const text::Segments& segments) {
  std::vector<text::Segments> parts(1);
  for (const text::Segment& segment : segments) {
    std::string_view rest = segment.text;
    while (!segment.literal) {
      const std::size_t mark = rest.find(image_mark);
      if (mark == std::string_view::npos) break;
      parts.back().push_back({std::string(rest.substr(0, mark)), false});
      parts.emplace_back();
      rest.remove_prefix(mark + image_mark.size());
    }
    parts.back().push_back({std::string(rest), segment.literal});
  }
  return parts;
}

struct PromptPicture {
  const Image* image = nullptr;
  PictureLayout layout;
};

class Assembler {
 public:
  Assembler(const ModelFiles& files, std::vector<PromptPicture> pictures)
      : files_(files), pictures_(std::move(pictures)) {}

  Prompt run(const text::Segments& segments) {
    if (files_.image_token && *files_.image_token >= 0) {
      const text::Segments written = write_marks(segments, files_.image_text);
      expand_image_tokens(files_.tokenizer.encode(written, text::SpecialTokens::add));
    } else {
      encode_parts(split_at_marks(segments));
    }
    if (n_placed_ != pictures_.size()) {
      fail(ErrorCode::input, "the prompt has {} {} marks and {} pictures were given", n_placed_, image_mark,
           pictures_.size());
    }
    return std::move(prompt_);
  }

 private:
  /// The tokenizer knows a token for pictures: each stands for a whole run.
  void expand_image_tokens(const std::vector<std::int32_t>& ids) {
    for (const std::int32_t id : ids) {
      if (id == *files_.image_token) {
        place_picture();
      } else {
        place_token(id);
      }
    }
  }

  /// It does not: the parts around a mark are tokenized one by one, the beginning of text told once.
  void encode_parts(const std::vector<text::Segments>& parts) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) place_picture();
      std::vector<std::int32_t> ids =
          files_.tokenizer.encode(parts[i], i == 0 ? text::SpecialTokens::add : text::SpecialTokens::none);
      for (const std::int32_t id : ids) place_token(id);
    }
  }

  void place_token(std::int32_t id) {
    prompt_.ids.push_back(id);
    prompt_.keys.push_back(static_cast<ContentKey>(id));
  }

  void place_picture() {
    check_can_see(files_);
    // One mark too many is told when all have been counted.
    const bool known = n_placed_ < pictures_.size();
    const PromptPicture picture = known ? std::move(pictures_[n_placed_]) : PromptPicture{};
    ++n_placed_;
    const ContentKey content = picture.image != nullptr ? content_hash(*picture.image) : 0;
    const std::int64_t count = picture.layout.n_tokens();
    prompt_.pictures.push_back({prompt_.length(), picture.layout, picture.image, content});
    for (std::int64_t row = 0; row < count; ++row) {
      prompt_.ids.push_back(files_.image_token.value_or(-1));
      prompt_.keys.push_back(~(content + static_cast<ContentKey>(row)));
    }
  }

  const ModelFiles& files_;
  std::vector<PromptPicture> pictures_;
  std::size_t n_placed_ = 0;
  Prompt prompt_;
};

/// A raw prompt is control text throughout; without a mark its pictures come first.
text::Segments raw_segments(const Message& message, std::size_t n_pictures) {
  std::string prompt = message.text;
  if (n_pictures > 0 && prompt.find(image_mark) == std::string::npos) {
    for (std::size_t i = 0; i < n_pictures; ++i) prompt.insert(0, std::string(image_mark) + "\n");
  }
  return {{prompt, false}};
}

}  // namespace

Prompt assemble_prompt(const ModelFiles& files, const Request& request) {
  if (request.messages.empty()) fail(ErrorCode::input, "the request has no message");
  std::vector<PromptPicture> pictures;
  for (const Message& message : request.messages) {
    for (const Image& picture : message.images) {
      check_can_see(files);
      pictures.push_back({&picture, lay_out_picture(files, {picture.width(), picture.height()})});
    }
  }
  if (request.form == PromptForm::raw) {
    if (request.messages.size() != 1)
      fail(ErrorCode::input, "a raw prompt is one message, {} were given", request.messages.size());
    const std::size_t n_pictures = pictures.size();
    return Assembler(files, std::move(pictures)).run(raw_segments(request.messages.front(), n_pictures));
  }
  if (!files.chat.refusal.empty()) fail(ErrorCode::usage, "{}", files.chat.refusal);
  return Assembler(files, std::move(pictures)).run(files.chat.format.render(chat_messages(request.messages)));
}

std::int64_t prompt_length(const ModelFiles& files, const Workload& workload) {
  std::vector<text::ChatMessage> messages;
  if (!workload.system.empty()) messages.push_back({text::ChatRole::system, workload.system, 0});
  messages.push_back({text::ChatRole::user, workload.prompt, workload.n_images});
  std::vector<PromptPicture> pictures;
  for (std::int64_t i = 0; i < workload.n_images; ++i) {
    const PictureLimits limits = picture_limits(files, workload, i);
    pictures.push_back(
        {nullptr, {limits.n_tiles, std::vector<std::int32_t>(static_cast<std::size_t>(limits.n_tokens))}});
  }
  return Assembler(files, std::move(pictures)).run(files.chat.format.render(messages)).length();
}

}  // namespace galago::runtime

// A model is spoken to in the format that its files mean, unless another is asked for.
#include "runtime/chat_choice.h"

#include <gtest/gtest.h>

#include "base/file_map.h"
#include "galago/error.h"

namespace galago::runtime {
namespace {

const std::filesystem::path templates = std::filesystem::path(GALAGO_GOLDENS_DIR) / "chat" / "templates";

text::ChatTemplate published(const std::string& name) {
  return {"tokenizer_config.json", read_text_file(templates / (name + ".jinja"), 1 << 16)};
}

std::string choice(const std::string& family, const std::optional<text::ChatTemplate>& found,
                   const std::string& asked = "") {
  return choose_chat_format(asked, Json{{"chat", family}}, "models/some", found).format.name();
}

TEST(ChatChoice, WithoutATemplateTheFamilysOwnFormatIsTaken) {
  EXPECT_EQ(choice("llava-1.5", std::nullopt), "llava-1.5");
}

TEST(ChatChoice, AKnownTemplateMeansItsFormat) {
  EXPECT_EQ(choice("none", published("smollm2")), "smollm2");
  EXPECT_EQ(choice("llava-1.5", published("llava-1.6-mistral-hf")), "llava-1.6-mistral-hf");
}

TEST(ChatChoice, FormatsOfAModelsOwnCodeOverruleTemplates) {
  EXPECT_EQ(choice("internlm2-chat", published("chatml-internlm2")), "internlm2-chat");
}

TEST(ChatChoice, WhatIsAskedForOverrulesAll) {
  EXPECT_EQ(choice("Hermes-2", published("chatml"), "llama-3"), "llama-3");
  EXPECT_THROW(choice("Hermes-2", std::nullopt, "no-such-format"), Error);
}

TEST(ChatChoice, AnUnknownTemplateIsNamed) {
  const text::ChatTemplate strange{"model/chat_template.jinja", "{{ messages }}"};
  const ChatChoice vision = choose_chat_format("", Json{{"chat", "llava-1.5"}}, "models/some", strange);
  EXPECT_EQ(vision.format.name(), "llava-1.5");
  EXPECT_EQ(vision.refusal, "");
  EXPECT_NE(vision.notice.find("model/chat_template.jinja"), std::string::npos);
  EXPECT_NE(vision.notice.find("--chat-format"), std::string::npos);
  const ChatChoice text = choose_chat_format("", Json{{"chat", "none"}}, "models/some", strange);
  EXPECT_NE(text.refusal.find("model/chat_template.jinja"), std::string::npos);
  EXPECT_NE(text.refusal.find("vicuna_v1"), std::string::npos);
}

TEST(ChatChoice, OriginalLlavaGoesByTheNameOfTheModel) {
  const auto named = [](const std::string& directory, const std::string& hint) {
    const Json config = {{"chat", "llava"}, {"chat_hint", hint}};
    return choose_chat_format("", config, directory, std::nullopt).format.name();
  };
  EXPECT_EQ(named("/models/llava-v1.5-7b", "llava"), "llava_v1");
  EXPECT_EQ(named("/models/llava-v1.6-mistral-7b/", "llava"), "mistral_instruct");
  EXPECT_EQ(named("/models/LLaVA-v1.6-34B", "llava"), "chatml_direct");
  EXPECT_EQ(named("/models/mine", "liuhaotian/llava-llama-2-13b-chat"), "llava_llama_2");
  EXPECT_EQ(named("/models/mine", "vicuna"), "llava_v1");
}

}  // namespace
}  // namespace galago::runtime

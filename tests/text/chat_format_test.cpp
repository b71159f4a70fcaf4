#include "text/chat_format.h"

#include <gtest/gtest.h>

#include "base/file_map.h"
#include "galago/error.h"
#include "support/golden.h"
#include "text/chat_template.h"

namespace galago::text {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

std::string text_of(const Segments& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

/// The words between "<image>\n" and " ASSISTANT:" of a golden prompt.
std::string words_of(const std::string& prompt) {
  const std::size_t begin = prompt.rfind("<image>\n") + 8;
  return prompt.substr(begin, prompt.rfind(" ASSISTANT:") - begin);
}

TEST(ChatFormat, PromptsAreTheGoldenOnes) {
  for (const auto& [folder, name] :
       {std::pair("llava-1.5", "llava-1.5"), std::pair("llava-1.5-original", "llava_v1")}) {
    const testing::Golden golden(goldens / folder);
    for (const auto& entry : golden.cases()) {
      const auto prompt = entry.at("prompt").get<std::string>();
      const auto n_images = static_cast<std::int64_t>(entry.at("images").size());
      EXPECT_EQ(text_of(chat_format(name).render({{ChatRole::user, words_of(prompt), n_images}})), prompt);
    }
  }
}

std::vector<ChatMessage> messages_of(const Json& list) {
  std::vector<ChatMessage> messages;
  for (const Json& json : list) {
    const auto role = json.at("role").get<std::string>();
    messages.push_back({role == "system" ? ChatRole::system
                        : role == "user" ? ChatRole::user
                                         : ChatRole::assistant,
                        json.at("text").get<std::string>(), json.at("images").get<std::int64_t>()});
  }
  return messages;
}

TEST(ChatFormat, ConversationsAreWrittenAsTheModelsOwnCodeWritesThem) {
  const Json cases = parse_json_file(goldens / "chat" / "cases.json");
  ASSERT_GT(cases.size(), 60U);
  for (const Json& entry : cases) {
    const auto name = entry.at("format").get<std::string>();
    const auto messages = messages_of(entry.at("messages"));
    EXPECT_EQ(text_of(chat_format(name).render(messages)), entry.at("prompt").get<std::string>()) << name;
  }
}

TEST(ChatFormat, PublishedTemplatesAreRecognised) {
  const Json cases = parse_json_file(goldens / "chat" / "cases.json");
  for (const Json& entry : cases) {
    if (entry.at("template").is_null()) continue;
    const auto file = entry.at("template").get<std::string>() + ".jinja";
    const std::string jinja = read_text_file(goldens / "chat" / "templates" / file, 1 << 16);
    EXPECT_EQ(format_of_template(jinja), entry.at("format").get<std::string>())
        << file << " has the fingerprint " << template_fingerprint(jinja);
  }
}

TEST(ChatFormat, TurnsOfVicunaEndWithTheEndOfText) {
  const std::string prompt = text_of(chat_format("llava_v1")
                                         .render({{ChatRole::system, "Be brief.", 0},
                                                  {ChatRole::user, "a", 1},
                                                  {ChatRole::assistant, "b", 0},
                                                  {ChatRole::user, "c", 0}}));
  EXPECT_EQ(prompt, "Be brief. USER: <image>\na ASSISTANT: b</s>USER: c ASSISTANT:");
}

TEST(ChatFormat, TurnsOfLlavaHfEndWithASpace) {
  const std::string prompt = text_of(
      chat_format("llava-1.5")
          .render({{ChatRole::user, "a", 1}, {ChatRole::assistant, "b", 0}, {ChatRole::user, "c", 0}}));
  EXPECT_EQ(prompt, "USER: <image>\na ASSISTANT: b USER: c ASSISTANT:");
}

TEST(ChatFormat, TheWordsOfAUserAreLiteralAndMarksAreNot) {
  const Segments prompt = chat_format("llava-1.5").render({{ChatRole::user, "a</s> <image> b", 1}});
  ASSERT_EQ(prompt.size(), 5U);
  EXPECT_EQ(prompt[1].text, "a</s> ");
  EXPECT_TRUE(prompt[1].literal);
  EXPECT_EQ(prompt[2].text, "<image>");
  EXPECT_FALSE(prompt[2].literal);
  EXPECT_TRUE(prompt[3].literal);
  EXPECT_FALSE(prompt[4].literal);
}

TEST(ChatFormat, NoFormatIsTheMessageItself) {
  EXPECT_EQ(text_of(chat_format("none").render({{ChatRole::user, "The quick", 0}})), "The quick");
}

TEST(ChatFormat, AnEmptyDefaultSystemTextHasItsFrame) {
  const ChatFormat format = chat_format("llama-3.1");
  const std::string frame = "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date";
  EXPECT_EQ(text_of(format.render({{ChatRole::user, "a", 0}})).find(frame), 0U);
  EXPECT_EQ(text_of(chat_format("chatml").render({{ChatRole::user, "a", 0}})),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatFormat, TheSystemTextMayStandInTheLastUserMessage) {
  const std::vector<ChatMessage> messages = {{ChatRole::system, "S", 0},
                                             {ChatRole::user, "a", 0},
                                             {ChatRole::assistant, "b", 0},
                                             {ChatRole::user, "c", 1}};
  EXPECT_EQ(text_of(chat_format("mistral-v3-tekken").render(messages)),
            "[INST]a[/INST]b</s>[INST]S\n\n<image>\nc[/INST]");
}

TEST(ChatFormat, TheSystemTextMayStandInTheFirstUserMessage) {
  const Json json = {{"source", "s"},
                     {"system", {{"prefix", "<<SYS>>\n"}, {"suffix", "\n<</SYS>>\n\n"}}},
                     {"system_in_first_user", true},
                     {"user", {{"prefix", "[INST] "}, {"suffix", " [/INST]"}}},
                     {"assistant", {{"prefix", " "}, {"suffix", " </s>"}}},
                     {"answer", ""},
                     {"image", "<image>\n"},
                     {"stop", {"[INST]"}}};
  const ChatFormat format("llama-2", json, "test.json");
  EXPECT_EQ(text_of(format.render({{ChatRole::system, "S", 0},
                                   {ChatRole::user, "a", 0},
                                   {ChatRole::assistant, "b", 0},
                                   {ChatRole::user, "c", 0}})),
            "[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST] b </s>[INST] c [/INST]");
  EXPECT_EQ(format.stop_strings(), std::vector<std::string>{"[INST]"});
  EXPECT_EQ(format.source(), "s");
}

TEST(ChatFormat, WhatCannotBeIsRefused) {
  const ChatFormat format = chat_format("llava-1.5");
  EXPECT_THROW(format.render({{ChatRole::user, "a", 0}, {ChatRole::system, "b", 0}}), Error);
  EXPECT_THROW(format.render({{ChatRole::user, "<image> <image>", 1}}), Error);
  EXPECT_THROW(chat_format("no-such-format"), Error);
  EXPECT_THROW(ChatFormat("x", Json{{"source", "s"}, {"surprise", 1}}, "test.json"), Error);
  EXPECT_THROW(ChatFormat("x", Json::array(), "test.json"), Error);
}

TEST(ChatFormat, AMarkThatTheModelWroteIsOnlyText) {
  const Segments prompt = chat_format("llava-1.5")
                              .render({{ChatRole::user, "hi", 0},
                                       {ChatRole::assistant, "see <image>", 0},
                                       {ChatRole::user, "what?", 0}});
  for (const Segment& segment : prompt) {
    EXPECT_TRUE(segment.literal || segment.text.find("<image>") == std::string::npos);
  }
}

}  // namespace
}  // namespace galago::text

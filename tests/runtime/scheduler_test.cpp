// Several requests at once, in rounds, with shared pages: each answer is the one that its request has alone.
#include "runtime/scheduler.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "galago/galago.h"
#include "support/tasks.h"

namespace galago {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

EngineOptions options_for(const char* folder) {
  EngineOptions options;
  options.model = goldens / folder;
  options.precision = Precision::fp32;
  options.context = 200;
  return options;
}

Request ask(const std::string& text, const std::vector<std::string>& pictures, std::int64_t n_tokens) {
  Request request;
  request.messages = {{Role::user, text, {}}};
  for (const std::string& picture : pictures) {
    request.messages.back().images.push_back(load_image(goldens / "images" / picture));
  }
  request.sampling.max_new_tokens = n_tokens;
  request.sampling.ignore_end = true;
  return request;
}

/// Different lengths, so that they end at different times.
std::vector<Request> questions() {
  return {ask("Describe the picture.", {"wide.jpg"}, 9), ask("What is it?", {"gray.png"}, 3),
          ask("Why does the fox jump over the dog?", {}, 12), ask("And this?", {"tall.png"}, 1),
          ask("Describe it.", {"wide.jpg"}, 7)};
}

using Answers = std::vector<std::vector<std::int32_t>>;

Answers one_by_one(Engine& engine, const std::vector<Request>& requests) {
  Answers answers;
  for (const Request& request : requests) answers.push_back(engine.generate(request).token_ids);
  return answers;
}

struct Told {
  std::vector<std::size_t> order;
  std::map<std::size_t, Outcome> outcomes;
  std::size_t most_ahead = 0;  ///< tasks that had been asked for when the first outcome was told

  Answers answers() const {
    Answers all;
    for (const auto& [task, outcome] : outcomes) all.push_back(outcome.completion.value().token_ids);
    return all;
  }
};

Told all_at_once(Engine& engine, const std::vector<Request>& requests,
                 std::size_t stop_after = ~std::size_t{0}) {
  Told told;
  std::size_t next = 0;
  engine.generate_all(test::hand_out(requests, next), [&](const Outcome& outcome) {
    if (told.order.empty()) told.most_ahead = next;
    told.order.push_back(outcome.task);
    told.outcomes[outcome.task] = outcome;
    return told.order.size() < stop_after;
  });
  return told;
}

void expect_regions_as_planned(const Engine& engine) {
  for (const RegionUse& use : engine.memory()) EXPECT_LE(use.high_water, use.planned) << use.name;
}

class Batches : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(Batches, AnswerAsOneRequestAfterAnother) {
  EngineOptions options = options_for("llava-1.5");
  Engine single(options);
  const std::vector<Request> requests = questions();
  options.batch = GetParam();
  Engine batched(options);
  const Told told = all_at_once(batched, requests);
  EXPECT_EQ(told.answers(), one_by_one(single, requests));
  if (options.batch >= 4) {
    EXPECT_EQ(told.order.front(), 3U) << "the shortest answer is told first";
  } else if (options.batch == 1) {
    EXPECT_EQ(told.order, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
  }
  expect_regions_as_planned(batched);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Batches, ::testing::Values(1, 2, 4, 7));

TEST(Batches, AreLimitedByFreePages) {
  EngineOptions options = options_for("llava-1.5");
  const std::vector<Request> requests = questions();
  Engine single(options);
  const Answers expected = one_by_one(single, requests);
  options.batch = 5;
  options.kv_tokens = 208;  // of one request and a little more: never all five, never none
  Engine batched(options);
  EXPECT_EQ(batched.plan().n_pages, 13);
  const Told told = all_at_once(batched, requests);
  EXPECT_EQ(told.answers(), expected);
  EXPECT_LT(told.most_ahead, requests.size());
}

TEST(Batches, TakePagesForEachRequestInThePlan) {
  EngineOptions options = options_for("llava-1.5");
  const Plan one = plan_model(options);
  options.batch = 3;
  EXPECT_EQ(plan_model(options).n_pages, 3 * one.n_pages);
  options.kv_tokens = 100;
  EXPECT_THROW(plan_model(options), Error) << "less than one context";
  options.kv_tokens = 0;
  options.batch = 0;
  EXPECT_THROW(plan_model(options), Error);
}

TEST(Batches, GoOnPastARequestThatCannotBe) {
  EngineOptions options = options_for("llava-1.5");
  options.batch = 2;
  Engine engine(options);
  std::vector<Request> requests = questions();
  requests[1].messages.front().text = "<image> and <image>";
  const Told told = all_at_once(engine, requests);
  ASSERT_EQ(told.outcomes.size(), requests.size());
  EXPECT_EQ(told.outcomes.at(1).error->code(), ErrorCode::input);
  for (const std::size_t task : {0, 2, 3, 4}) EXPECT_TRUE(told.outcomes.at(task).completion) << task;
}

TEST(Batches, FinishWhatIsInWorkWhenToldToStop) {
  EngineOptions options = options_for("llava-1.5");
  options.batch = 2;
  Engine engine(options);
  const std::vector<Request> requests = questions();
  const Told told = all_at_once(engine, requests, 1);
  EXPECT_EQ(told.outcomes.size(), 2U);
  EXPECT_EQ(all_at_once(engine, requests).outcomes.size(), requests.size()) << "the engine stays usable";
}

TEST(Batches, LeaveTheEngineUsableWhenACallerThrows) {
  EngineOptions options = options_for("llava-1.5");
  options.batch = 2;
  Engine engine(options);
  const std::vector<Request> requests = questions();
  std::size_t next = 0;
  EXPECT_THROW(engine.generate_all([&]() -> std::optional<Task> { return Task{requests[next++]}; },
                                   [](const Outcome&) -> bool { throw std::string("enough"); }),
               std::string);
  EXPECT_EQ(all_at_once(engine, requests).outcomes.size(), requests.size());
}

class StagedRounds : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(StagedRounds, AnswerAsAResidentTowerDoes) {
  EngineOptions options = options_for("llava-1.5");
  const std::vector<Request> requests = questions();
  Engine resident(options);
  const Answers expected = one_by_one(resident, requests);
  options.tower_placement = TowerPlacement::staged;
  options.encode_batch = 3;
  options.batch = GetParam();
  // The pictures of a conversation are kept where nobody says how many come.
  options.workload = Workload{"", 1, 200};
  options.workload->n_requests = 5;
  Engine staged(options);
  EXPECT_EQ(staged.plan().encode_batch, 3);
  const Told told = all_at_once(staged, requests);
  EXPECT_EQ(told.answers(), expected);
  EXPECT_GE(told.most_ahead, 4U) << "three pictures and a text are taken in before the tower leaves";
  EXPECT_EQ(all_at_once(staged, requests).answers(), expected);
  expect_regions_as_planned(staged);
}

INSTANTIATE_TEST_SUITE_P(Sizes, StagedRounds, ::testing::Values(1, 3));

TEST(SharedPages, OfOnePictureAskedSeveralQuestionsAreComputedOnce) {
  for (const TowerPlacement placement : {TowerPlacement::resident, TowerPlacement::staged}) {
    for (const std::int64_t batch : {1, 3}) {
      SCOPED_TRACE(batch);
      EngineOptions options = options_for("llava-1.5");
      options.tower_placement = placement;
      options.batch = batch;
      std::vector<Request> requests{ask("What is it?", {"wide.jpg"}, 6),
                                    ask("Which colour?", {"wide.jpg"}, 6), ask("How many?", {"wide.jpg"}, 6)};
      Engine alone(options);
      const Answers expected = one_by_one(alone, requests);
      for (Request& request : requests) request.reuse = PrefixReuse::cached;
      Engine sharing(options);
      const Told told = all_at_once(sharing, requests);
      EXPECT_EQ(told.answers(), expected);
      EXPECT_EQ(told.outcomes.at(0).completion->cached_tokens, 0);
      for (const std::size_t later : {1, 2}) {
        const Completion& completion = *told.outcomes.at(later).completion;
        // The picture has 16 tokens, and the system text comes before it.
        EXPECT_GT(completion.cached_tokens, 16);
        EXPECT_LT(completion.cached_tokens, completion.prompt_tokens);
        EXPECT_EQ(completion.timing.encode_seconds, 0) << "its picture is not encoded again";
      }
    }
  }
}

TEST(SharedPages, OfAConversationGoOnInIt) {
  Engine engine(options_for("llava-1.5"));
  Request request = ask("What is it?", {"wide.jpg"}, 8);
  request.reuse = PrefixReuse::cached;
  const Completion first = engine.generate(request);
  Request other = ask("Why?", {}, 8);
  other.reuse = PrefixReuse::cached;
  engine.generate(other);
  request.messages.push_back({Role::assistant, first.text, {}});
  request.messages.push_back({Role::user, "Really?", {}});
  const Completion again = engine.generate(request);
  EXPECT_GE(again.cached_tokens, first.prompt_tokens) << "another conversation came between";
  request.reuse = PrefixReuse::none;
  const Completion fresh = engine.generate(request);
  EXPECT_EQ(fresh.cached_tokens, 0);
  EXPECT_EQ(fresh.token_ids, again.token_ids);
}

}  // namespace
}  // namespace galago

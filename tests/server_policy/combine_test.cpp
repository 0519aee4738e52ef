// Full products of the tables: spec part 2 §9.3, part 1a §4.9.
#include "server/policy/combine.h"

#include <gtest/gtest.h>

namespace gatehouse::server::policy {
namespace {

using R = Recommendation;
using E = Evaluation;
constexpr R recommendations[] = {R::allow, R::block, R::isolate, R::none};
constexpr E evaluations[] = {E::compliant, E::minor, E::major, E::error, E::unknown};

TEST(AnItemsResult, DecidesByItsEvaluation) {
  for (const R fail : recommendations)
    for (const R noresult : recommendations) {
      WorkItem item;
      item.on_fail = fail;
      item.on_noresult = noresult;
      EXPECT_EQ(recommendation_of(item, E::compliant), R::allow);
      EXPECT_EQ(recommendation_of(item, E::minor), fail);
      EXPECT_EQ(recommendation_of(item, E::major), fail);
      EXPECT_EQ(recommendation_of(item, E::error), noresult);
      EXPECT_EQ(recommendation_of(item, E::unknown), noresult);
    }
}

TEST(AValidator, KeepsTheStricterRecommendation) {
  // Rows: before; columns: the item's allow, block, isolate, none.
  constexpr R expected[4][4] = {{R::allow, R::block, R::isolate, R::allow},
                                {R::block, R::block, R::block, R::block},
                                {R::isolate, R::block, R::isolate, R::isolate},
                                {R::allow, R::block, R::isolate, R::none}};
  for (const R old : recommendations)
    for (const R item : recommendations)
      EXPECT_EQ(update(old, item), expected[int(old)][int(item)]) << int(old) << int(item);
}

TEST(AValidator, KeepsTheWorseEvaluation) {
  for (const E old : evaluations)
    for (const E item : evaluations) {
      const E expected = old == E::unknown ? item : item == E::unknown ? old : E(std::max(int(old), int(item)));
      EXPECT_EQ(update(old, item), expected) << int(old) << int(item);
    }
}

std::vector<Assessment> all_assessments() {
  std::vector<Assessment> out;
  for (const R r : recommendations)
    for (const E e : evaluations) out.push_back({r, e});
  return out;
}

Assessment of(Combine policy, std::vector<Assessment> said) {
  std::vector<ValidatorResult> validators;
  for (const Assessment& a : said) validators.push_back({a});
  return combine(policy, validators, R::block);
}

bool said(const std::vector<Assessment>& all, R r) {
  return std::any_of(all.begin(), all.end(), [&](const Assessment& a) { return a.recommendation == r; });
}
bool said(const std::vector<Assessment>& all, E e) {
  return std::any_of(all.begin(), all.end(), [&](const Assessment& a) { return a.evaluation == e; });
}

// 20^3 combinations under each policy.
TEST(ThreeValidators, CombineAsSpecifiedWhateverTheySay) {
  const auto all = all_assessments();
  for (const Assessment& a : all)
    for (const Assessment& b : all)
      for (const Assessment& c : all) {
        const std::vector<Assessment> three = {a, b, c};
        Assessment strictest, best, unanimous{a.recommendation, a.evaluation};
        for (const R r : {R::allow, R::isolate, R::block})
          if (said(three, r)) strictest.recommendation = r;
        for (const R r : {R::block, R::isolate, R::allow})
          if (said(three, r)) best.recommendation = r;
        for (const E e : {E::compliant, E::minor, E::major, E::error})
          if (said(three, e)) strictest.evaluation = e;
        for (const E e : {E::error, E::major, E::minor, E::compliant})
          if (said(three, e)) best.evaluation = e;
        if (b.recommendation != a.recommendation || c.recommendation != a.recommendation)
          unanimous.recommendation = R::none;
        if (b.evaluation != a.evaluation || c.evaluation != a.evaluation) unanimous.evaluation = E::unknown;
        ASSERT_EQ(of(Combine::standard, three), strictest);
        ASSERT_EQ(of(Combine::any, three), best);
        ASSERT_EQ(of(Combine::all, three), unanimous);
      }
}

TEST(NoValidator, MeansNoRecommendation) {
  for (const Combine policy : {Combine::standard, Combine::any, Combine::all}) EXPECT_EQ(of(policy, {}), Assessment());
}

TEST(AFailureOfOurs, NeverCountsAsWhatTheValidatorSaid) {
  for (const Assessment& a : all_assessments())
    for (const Assessment& other : all_assessments())
      for (const R on_error : {R::block, R::isolate}) {
        ValidatorResult failed{a};
        failed.failed = true;
        const ValidatorResult both[] = {failed, {other}};
        const Assessment out = combine(Combine::standard, both, on_error);
        EXPECT_EQ(out.recommendation, other.recommendation == R::block ? R::block : on_error);
        EXPECT_EQ(out.evaluation, E::error);
        EXPECT_NE(combine(Combine::all, both, on_error).recommendation, R::allow);
        const ValidatorResult alone[] = {failed};
        for (const Combine policy : {Combine::standard, Combine::any, Combine::all})
          EXPECT_EQ(combine(policy, alone, on_error), (Assessment{on_error, E::error}));
      }
}

TEST(ARequiredValidatorWithoutEvidence, BlocksWhateverItAndTheOthersSay) {
  for (const Assessment& a : all_assessments())
    for (const Assessment& other : all_assessments()) {
      ValidatorResult missing{a};
      missing.required = true;
      missing.evidence = false;
      const ValidatorResult both[] = {{other}, missing};
      const Assessment out = combine(Combine::standard, both, R::block);
      EXPECT_EQ(out.recommendation, R::block);
      EXPECT_EQ(out.evaluation, other.evaluation == E::compliant ? E::unknown : other.evaluation);
      EXPECT_NE(combine(Combine::all, both, R::block).recommendation, R::allow);
      const ValidatorResult alone[] = {missing};
      for (const Combine policy : {Combine::standard, Combine::any, Combine::all})
        EXPECT_EQ(combine(policy, alone, R::isolate), (Assessment{R::block, E::unknown}));
      missing.evidence = true;
      const ValidatorResult there[] = {missing};
      EXPECT_EQ(combine(Combine::standard, there, R::block), a);
    }
}

TEST(AnIdleValidator, OpensNothingUnderAnyWhileAnotherHasWork) {
  ValidatorResult idle{{R::allow, E::unknown}};
  idle.idle = true;
  for (const Assessment& a : all_assessments()) {
    const ValidatorResult both[] = {idle, {a}};
    EXPECT_EQ(combine(Combine::any, both, R::block), a);
    const ValidatorResult reversed[] = {{a}, idle};
    EXPECT_EQ(combine(Combine::any, reversed, R::block), a);
  }
  const ValidatorResult only[] = {idle, idle};
  for (const Combine policy : {Combine::standard, Combine::any, Combine::all})
    EXPECT_EQ(combine(policy, only, R::block), (Assessment{R::allow, E::unknown}));
}

TEST(StricterRecommendations, AreOrderedByWhatTheyGrant) {
  constexpr R order[] = {R::allow, R::none, R::isolate, R::block};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < 4; ++j) EXPECT_EQ(stricter(order[i], order[j]), order[std::max(i, j)]);
}

}  // namespace
}  // namespace gatehouse::server::policy

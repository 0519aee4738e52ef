// File and directory work items, each with what an endpoint may answer (spec part 2 §1.13-§1.15, §9.2).
#include <gtest/gtest.h>

#include <set>

#include "base/hex.h"
#include "tests/server_attestation/hand_client.h"

namespace gatehouse::test {
namespace {

namespace pt = pts::type;
using pipeline::Evaluation;
using pipeline::Status;

Digest content(std::string_view text) { return digest_of(HashAlgorithm::sha256, as_bytes(text)); }

// A device that a client certificate proves, so that nothing is asked of its TPM.
class Files : public testing::Test {
 protected:
  Files() : machine_(machine()) {
    world_.enrol(machine_.tpm->ak(), machine_.tpm->ak().key_id(), "Debian 12 x86_64", {"CN=test"});
  }
  HandOutcome ask(const std::vector<std::string>& items) {
    world_.settings.policy = asking_for(items);
    return hold(world_, machine_, options_);
  }
  static const pipeline::Finding* finding(const HandOutcome& out, const std::string& path) {
    for (const pipeline::Finding& f : out.verdict->findings)
      if (f.component == "file" && f.path == path) return &f;
    return nullptr;
  }
  static std::string folder(const std::string& path) { return path.substr(0, path.rfind('/')); }
  static std::string base(const std::string& path) { return path.substr(path.rfind('/') + 1); }
  // What an item came to, as "compliant: file measurement correct".
  static std::string result(const HandOutcome& out, std::string_view type, std::string_view argument = {}) {
    const pipeline::ItemResult* item = out.item(type, argument);
    return item == nullptr ? "no result" : std::string(name(item->evaluation)) + ": " + item->result;
  }

  World world_;
  const Machine machine_;
  HandOptions options_;
};

TEST_F(Files, AFileThatIsTheReferenceIsAllowed) {
  const auto [path, digest] = some_reference();
  options_.files[path] = {{base(path), digest}};
  const HandOutcome out = ask({"FMEAS " + path});
  EXPECT_EQ(result(out, "FMEAS"), "compliant: file measurement correct");
  EXPECT_EQ(out.recommendation, 1);
  EXPECT_FALSE(out.asked(tcg, pt::dh_nonce_request)) << "nothing is asked of the TPM";
  const auto request = *[&] {
    Reader r(out.find(pt::request_file_measurement)->value, "test");
    return pts::parse_file_measurement_request(r);
  }();
  EXPECT_EQ(request.path, path);
  EXPECT_FALSE(request.directory);
  EXPECT_EQ(request.delimiter, pts::delimiter_slash);
  EXPECT_NE(request.id, 0);
}

TEST_F(Files, AFileThatDiffersIsNamedWithWhatWasExpected) {
  const auto [path, digest] = some_reference();
  options_.files[path] = {{base(path), content("another")}};
  const HandOutcome out = ask({"FMEAS " + path});
  EXPECT_EQ(result(out, "FMEAS"), "minor: file measurement not correct");
  EXPECT_EQ(out.recommendation, 3);
  ASSERT_NE(finding(out, path), nullptr);
  EXPECT_EQ(finding(out, path)->status, Status::differ);
  EXPECT_EQ(finding(out, path)->expected, std::vector<std::string>{"sha256:" + digest.hex()});
  EXPECT_EQ(finding(out, path)->measured_file, "sha256:" + content("another").hex());
  EXPECT_FALSE(finding(out, path)->package.empty());
  ASSERT_EQ(out.reasons.size(), 1U);
  EXPECT_EQ(out.reasons.front(), "Incorrect file measurement");
  // Who is let in all the same isn't told why not.
  const HandOutcome let_in = ask({"FMEAS " + path + "\", on_fail = \"allow"});
  EXPECT_EQ(result(let_in, "FMEAS"), "minor: file measurement not correct");
  EXPECT_EQ(let_in.recommendation, 1);
  EXPECT_TRUE(let_in.reasons.empty());
}

TEST_F(Files, AFileWithoutAReferenceIsNotTakenAsGood) {
  options_.files["/opt/own"] = {{"own", content("own")}};
  const HandOutcome out = ask({"FMEAS /opt/own"});
  EXPECT_EQ(result(out, "FMEAS"), "unknown: no reference of this file");
  EXPECT_EQ(out.recommendation, 3);
}

TEST_F(Files, WhatWasLearnedOfAFileIsWhatItIsComparedWith) {
  options_.files["/opt/own"] = {{"own", content("first")}};
  HandOutcome out = ask({"FREFM /opt/own"});
  EXPECT_EQ(result(out, "FREFM"), "compliant: file reference measurement successful");
  EXPECT_EQ(out.recommendation, 1);
  out = ask({"FMEAS /opt/own"});
  EXPECT_EQ(result(out, "FMEAS"), "compliant: file measurement correct");
  options_.files["/opt/own"] = {{"/opt/own", content("second")}};  // some collectors say the whole path
  out = ask({"FMEAS /opt/own"});
  EXPECT_EQ(result(out, "FMEAS"), "minor: file measurement not correct");
  out = ask({"FREFM /opt/own"});
  out = ask({"FMEAS /opt/own"});
  EXPECT_EQ(result(out, "FMEAS"), "compliant: file measurement correct") << "learned anew";
}

TEST_F(Files, ADirectoryIsComparedFileByFile) {
  options_.files["/opt/d"] = {{"a", content("a")}, {"b", content("b")}};
  HandOutcome out = ask({"DREFM /opt/d"});
  EXPECT_EQ(result(out, "DREFM"), "compliant: directory reference measurement successful");
  out = ask({"DMEAS /opt/d"});
  EXPECT_EQ(result(out, "DMEAS"), "compliant: directory measurement correct");
  EXPECT_EQ(out.recommendation, 1);

  options_.files["/opt/d"]["new"] = content("new");
  out = ask({"DMEAS /opt/d"});
  EXPECT_EQ(result(out, "DMEAS"), "compliant: directory measurement correct") << "an extra file is no fault";
  ASSERT_NE(finding(out, "/opt/d/new"), nullptr) << "and is reported";
  EXPECT_EQ(finding(out, "/opt/d/new")->status, Status::unknown);

  options_.files["/opt/d"] = {{"a", content("a")}};
  out = ask({"DMEAS /opt/d"});
  EXPECT_EQ(result(out, "DMEAS"), "minor: directory measurement not correct");
  ASSERT_NE(finding(out, "/opt/d/b"), nullptr);
  EXPECT_EQ(finding(out, "/opt/d/b")->reason, "the file is missing");

  options_.files["/opt/d"] = {{"a", content("a")}, {"b", content("changed")}};
  out = ask({"DMEAS /opt/d"});
  EXPECT_EQ(result(out, "DMEAS"), "minor: directory measurement not correct");
  ASSERT_NE(finding(out, "/opt/d/b"), nullptr);
  EXPECT_EQ(finding(out, "/opt/d/b")->status, Status::differ);
  EXPECT_EQ(finding(out, "/opt/d/b")->expected, std::vector<std::string>{"sha256:" + content("b").hex()});

  // Another reference measurement takes the place of the first, also for files that are gone.
  options_.files["/opt/d"] = {{"b", content("changed")}};
  ask({"DREFM /opt/d"});
  out = ask({"DMEAS /opt/d"});
  EXPECT_EQ(result(out, "DMEAS"), "compliant: directory measurement correct");
}

TEST_F(Files, ADirectoryOfAPackageIsComparedWithoutHavingBeenLearned) {
  const auto [path, digest] = some_reference();
  options_.files[folder(path)] = {{base(path), digest}};
  EXPECT_EQ(result(ask({"DMEAS " + folder(path)}), "DMEAS"), "compliant: directory measurement correct");
  options_.files[folder(path)] = {{base(path), content("another")}};
  EXPECT_EQ(result(ask({"DMEAS " + folder(path)}), "DMEAS"), "minor: directory measurement not correct");
  options_.files[folder(path)] = {{"not-of-any-package", content("x")}};
  EXPECT_EQ(result(ask({"DMEAS " + folder(path)}), "DMEAS"), "unknown: no references of this directory");
}

TEST_F(Files, ANameThatLeavesTheDirectoryIsNoFileOfIt) {
  const auto [path, digest] = some_reference();
  options_.files["/opt"] = {{".." + path, digest}, {"..", digest}};
  EXPECT_EQ(result(ask({"DMEAS /opt"}), "DMEAS"), "unknown: no references of this directory");
  EXPECT_EQ(result(ask({"DREFM /opt"}), "DREFM"), "error: the answer has a file outside the directory");
}

TEST_F(Files, MetadataIsAwaitedAndLogged) {
  options_.metadata["/etc/passwd"] = {"passwd"};
  options_.metadata["/etc/ssh"] = {"ssh_config", "sshd_config"};
  const HandOutcome out = ask({"FMETA /etc/passwd", "DMETA /etc/ssh"});
  EXPECT_EQ(result(out, "FMETA"), "compliant: file metadata requested");
  EXPECT_EQ(result(out, "DMETA"), "compliant: directory metadata requested");
  EXPECT_EQ(out.recommendation, 1);
  EXPECT_TRUE(out.logged("'/etc/ssh': 'sshd_config' regular file, 42 bytes"));
  for (const Said& batch : out.heard)
    EXPECT_LE(std::count_if(batch.begin(), batch.end(), [](const Pts& a) { return a.is(tcg, pt::request_file_metadata); }), 1)
        << "an answer doesn't say which request it is for";
}

TEST_F(Files, SilenceIsNoAnswer) {
  options_.metadata["/etc/passwd"] = {"passwd"};
  const HandOutcome out = ask({"FMEAS /a", "FREFM /b", "FMETA /c", "DMETA /etc", "FMETA /etc/passwd", "DMEAS /d", "DREFM /e"});
  for (const auto& [type, argument] : std::map<std::string, std::string>{{"FMEAS", "/a"}, {"FREFM", "/b"}, {"DMETA", "/etc"}, {"DMEAS", "/d"}, {"DREFM", "/e"}})
    EXPECT_EQ(result(out, type, argument), "unknown: no answer");
  EXPECT_EQ(result(out, "FMETA", "/c"), "unknown: no answer");
  EXPECT_EQ(result(out, "FMETA", "/etc/passwd"), "compliant: file metadata requested") << "asked behind the one that wasn't answered";
  EXPECT_EQ(out.recommendation, 3);
  ASSERT_EQ(out.reasons.size(), 1U);
  EXPECT_EQ(out.reasons.front(), "Pending file measurement");
}

TEST_F(Files, AnErrorAboutAFileConcernsItsItemAlone) {
  const auto [path, digest] = some_reference();
  options_.files[path] = {{base(path), digest}};
  options_.answer = [](const Pts& asked) -> std::optional<Said> {
    std::uint32_t code = 0;
    const std::string_view value = as_text(asked.value);
    if (value.ends_with("/gone")) code = pts::error::file_not_found;
    if (value.ends_with("/bad")) code = pts::error::invalid_path;
    if (value.ends_with("/delimiter")) code = pts::error::invalid_delimiter;
    if (code == 0) return std::nullopt;
    Writer w;
    pts::append_request_error(w, code, asked.value);
    return Said{pts_error(std::move(w))};
  };
  const HandOutcome out = ask({"FMEAS " + path, "FMEAS /gone", "DMEAS /bad", "FMETA /gone", "DMETA /delimiter"});
  EXPECT_EQ(result(out, "FMEAS", path), "compliant: file measurement correct");
  EXPECT_EQ(result(out, "FMEAS", "/gone"), "error: File Not Found");
  EXPECT_EQ(result(out, "FMETA", "/gone"), "error: File Not Found");
  EXPECT_EQ(result(out, "DMEAS", "/bad"), "error: Invalid Path");
  EXPECT_EQ(result(out, "DMETA", "/delimiter"), "error: Invalid File Pathname Delimiter");
  EXPECT_TRUE(out.logged("PTS error 'File Not Found' (3)"));
}

TEST_F(Files, AnErrorAboutNothingThatWaitsChangesNothing) {
  const auto [path, digest] = some_reference();
  options_.files[path] = {{base(path), digest}};
  options_.change = [](Said& said) {
    Writer w;
    pts::append_request_error(w, pts::error::file_not_found, as_bytes("anything"));
    if (!said.empty()) said.insert(said.begin(), pts_error(std::move(w)));
  };
  EXPECT_EQ(result(ask({"FMEAS " + path}), "FMEAS"), "compliant: file measurement correct");
}

TEST_F(Files, AnswersToOtherRequestsAreIgnored) {
  const auto [path, digest] = some_reference();
  options_.files[path] = {{base(path), digest}};
  options_.change = [&, p = path](Said& said) {
    if (said.empty() || !said.front().is(tcg, pt::file_measurement)) return;
    for (const std::uint16_t id : {std::uint16_t(0), std::uint16_t(999)}) {
      Writer w;
      pts::append_file_measurement_head(w, {1, id, 32});
      pts::append_file_measurement(w, {content("another").view(), base(p)});
      said.insert(said.begin(), {tcg, pt::file_measurement, std::move(w).take()});
    }
    said.push_back(said.back());  // and the right one twice
    said.back().value.back() ^= std::byte{1};
  };
  const HandOutcome out = ask({"FMEAS " + path});
  EXPECT_EQ(result(out, "FMEAS"), "compliant: file measurement correct");
  EXPECT_TRUE(out.logged("request 999"));
  EXPECT_TRUE(out.logged("request 0, which doesn't wait"));
}

TEST_F(Files, AnAnswerOfAnotherFileIsRefused) {
  const auto [path, digest] = some_reference();
  options_.files[path] = {{"other", digest}};
  EXPECT_EQ(result(ask({"FMEAS " + path}), "FMEAS"), "error: the answer is of another file");
  options_.files[path] = {};
  EXPECT_EQ(result(ask({"FMEAS " + path}), "FMEAS"), "error: the answer has 0 files");
  options_.files[path] = {{base(path), digest}, {"other", digest}};
  EXPECT_EQ(result(ask({"FREFM " + path}), "FREFM"), "error: the answer has 2 files");
}

TEST_F(Files, ALongDirectoryComesInSegments) {
  world_.settings.max_batch = options_.max_batch = 4'096;
  for (int i = 0; i < 2'000; ++i) options_.files["/opt/d"]["file-" + std::to_string(i)] = content(std::to_string(i));
  EXPECT_EQ(result(ask({"DREFM /opt/d"}), "DREFM"), "compliant: directory reference measurement successful");
  options_.files["/opt/d"].erase("file-1234");
  const HandOutcome out = ask({"DMEAS /opt/d"});
  EXPECT_EQ(result(out, "DMEAS"), "minor: directory measurement not correct");
  EXPECT_NE(finding(out, "/opt/d/file-1234"), nullptr);
  EXPECT_GT(out.rounds, 20U);
}

TEST_F(Files, ManyDirectoriesAreAskedForAFewAtATime) {
  world_.settings.max_batch = options_.max_batch = 4'096;
  std::vector<std::string> items;
  for (int i = 0; i < 40; ++i) {
    const std::string path = "/opt/" + std::to_string(i);
    for (int n = 0; n < 300; ++n) options_.files[path][std::to_string(n)] = content(path + std::to_string(n));
    items.push_back("DREFM " + path);
  }
  const HandOutcome out = ask(items);
  ASSERT_TRUE(out.verdict);
  ASSERT_EQ(out.verdict->items.size(), 40U);
  for (const pipeline::ItemResult& item : out.verdict->items) EXPECT_EQ(item.result, "directory reference measurement successful");
  std::set<std::uint16_t> ids;
  for (const Said& batch : out.heard)
    for (const Pts& a : batch) {
      if (!a.is(tcg, pt::request_file_measurement)) continue;
      Reader r(a.value, "test");
      EXPECT_TRUE(ids.insert(pts::parse_file_measurement_request(r)->id).second) << "no two requests share an id";
    }
  EXPECT_EQ(ids.size(), 40U);
}

TEST_F(Files, DigestsOfAnotherAlgorithmAreMalformedAtTheirLength) {
  options_.answer = [](const Pts& asked) -> std::optional<Said> {
    if (!asked.is(tcg, pt::request_file_measurement)) return std::nullopt;
    Writer w;
    pts::append_file_measurement_head(w, {1, 1, 20});
    pts::append_file_measurement(w, {digest_of(HashAlgorithm::sha1, {}).view(), "a"});
    return Said{{tcg, pt::file_measurement, std::move(w).take()}};
  };
  const HandOutcome out = ask({"FMEAS /a"});
  ASSERT_EQ(out.errors.size(), 1U);
  EXPECT_EQ(out.errors[0].vendor, 0U);
  EXPECT_EQ(out.errors[0].code, 1U);
  EXPECT_EQ(to_hex(Bytes(out.errors[0].information).subspan(8)), "0000001e") << "8 + 12 + 10";
  EXPECT_EQ(out.item("FMEAS")->evaluation, Evaluation::error);
}

TEST_F(Files, ACollectorThatKnowsNoFilesSaysSo) {
  options_.answer = [](const Pts& asked) -> std::optional<Said> {
    if (!asked.is(tcg, pt::request_file_measurement)) return std::nullopt;
    patnc::Refusal refusal{patnc::ErrorCode::type_not_supported, 0, {}, {}};
    refusal.attribute = {asked.flags, asked.vendor, asked.type, 0, {}};
    const std::byte header[8] = {};
    return Said{{0, patnc::type::pa_tnc_error, patnc::error_value(refusal, header)}};
  };
  options_.metadata["/etc/passwd"] = {"passwd"};
  const HandOutcome out = ask({"FMEAS /a", "FMETA /etc/passwd"});
  EXPECT_EQ(result(out, "FMEAS"), "error: the endpoint doesn't know this request");
  EXPECT_EQ(result(out, "FMETA"), "compliant: file metadata requested");
}

TEST_F(Files, ACollectorThatLooksAtNoFilesSaysSoOfEachRequest) {
  options_.answer = [](const Pts& asked) -> std::optional<Said> {
    if (!asked.is(tcg, pt::request_file_measurement) && !asked.is(tcg, pt::request_file_metadata)) return std::nullopt;
    Writer w;
    pts::append_error(w, pts::error::operation_not_supported);
    return Said{pts_error(std::move(w))};
  };
  const std::string refused = "error: PTS Operation Not Supported";
  const HandOutcome out = ask({"FMEAS /a", "DMEAS /b", "FMETA /c", "DMETA /d"});
  EXPECT_EQ(result(out, "FMEAS"), refused);
  EXPECT_EQ(result(out, "DMEAS"), refused);
  EXPECT_EQ(result(out, "FMETA"), refused);
  EXPECT_EQ(result(out, "DMETA"), refused) << "asked behind the other, and refused by itself";
  EXPECT_EQ(out.recommendation, 3);
}

// Beside a TPM attestation: the order of spec part 2 §1.17, and what its outcome means for references.
class FilesBesideTheTpm : public testing::Test {
 protected:
  FilesBesideTheTpm() : machine_(machine()) {
    world_.enrol(machine_.tpm->ak(), device());
    world_.settings.policy = asking_for({"TPMRA B I"});
    hold(world_, machine_);
    world_.approve(device());
    options_.files["/opt/own"] = {{"own", content("own")}};
  }
  std::string device() const { return machine_.tpm->ak().key_id(); }
  bool learned() const { return !world_.state->learned_files(device(), HashAlgorithm::sha256, "/opt")->empty(); }

  World world_;
  Machine machine_;
  HandOptions options_;
};

TEST_F(FilesBesideTheTpm, AreAskedForTogetherWithTheNonce) {
  world_.settings.policy = asking_for({"TPMRA B I", "FREFM /opt/own"});
  const HandOutcome out = hold(world_, machine_, options_);
  ASSERT_TRUE(out.verdict);
  EXPECT_EQ(out.recommendation, 1);
  EXPECT_EQ(out.item("FREFM")->result, "file reference measurement successful");
  EXPECT_TRUE(learned());
  ASSERT_GE(out.heard.size(), 2U);
  ASSERT_EQ(out.heard[1].size(), 2U);
  EXPECT_TRUE(out.heard[1][0].is(tcg, pt::request_file_measurement));
  EXPECT_TRUE(out.heard[1][1].is(tcg, pt::dh_nonce_request));
}

TEST_F(FilesBesideTheTpm, NothingIsLearnedWithoutAGoodQuote) {
  world_.settings.policy = asking_for({"TPMRA B I", "FREFM /opt/own"});
  machine_.list = file(interop("evidence/tampered/binary_runtime_measurements"));
  HandOutcome out = hold(world_, machine_, options_);
  ASSERT_NE(out.item("FREFM"), nullptr);
  EXPECT_EQ(out.item("FREFM")->evaluation, Evaluation::error);
  EXPECT_EQ(out.item("FREFM")->result, "nothing was learned: the device's quote didn't verify");
  EXPECT_FALSE(learned());

  options_.capabilities = pts::capability_verify;
  out = hold(world_, machine_, options_);
  EXPECT_EQ(out.item("TPMRA")->result, "no TPM available, no DH nonce negotiation");
  EXPECT_EQ(out.item("FREFM")->evaluation, Evaluation::error);
  EXPECT_FALSE(learned());
}

TEST_F(FilesBesideTheTpm, AreJudgedThoughTheAttestationFails) {
  world_.settings.policy = asking_for({"TPMRA B I", "FMEAS " + some_reference().first, "FMEAS /nowhere"});
  const auto [path, digest] = some_reference();
  options_.files[path] = {{path, digest}};
  options_.capabilities = pts::capability_verify | pts::capability_dh;
  const HandOutcome out = hold(world_, machine_, options_);
  EXPECT_EQ(out.item("TPMRA")->result, "no TPM available");
  EXPECT_EQ(out.item("FMEAS", path)->result, "file measurement correct");
  EXPECT_EQ(out.item("FMEAS", "/nowhere")->result, "no answer");
  EXPECT_EQ(out.recommendation, 3);
}

TEST_F(FilesBesideTheTpm, ADifferentFileIsolatesThoughTheQuoteIsGood) {
  const auto [path, digest] = some_reference();
  world_.settings.policy = asking_for({"TPMRA B I", "FMEAS " + path});
  options_.files[path] = {{path, content("another")}};
  const HandOutcome out = hold(world_, machine_, options_);
  EXPECT_EQ(out.item("TPMRA")->evaluation, Evaluation::compliant);
  EXPECT_EQ(out.recommendation, 3);
  EXPECT_EQ(out.verdict->evaluation, Evaluation::minor);
}

}  // namespace
}  // namespace gatehouse::test

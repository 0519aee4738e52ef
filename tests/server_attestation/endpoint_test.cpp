// Our endpoint's Attestation collector against our server: the raw-evidence extension, and files that policy asks for.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/server_attestation/hand_client.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::test {
namespace {

using pipeline::Evaluation;
using pipeline::Status;
namespace raw = pts::raw;


Status check(const Outcome& out, const std::string& code) {
  const auto at = out.verdict->checks.find(code);
  return at == out.verdict->checks.end() ? Status::absent : at->second;
}

// What a client says of the extension, by type: in messages, segments counted as one of theirs.
class Heard {
 public:
  ByteVector operator()(ByteVector message) {
    with_attributes(message, [&](std::vector<ByteVector>& all) {
      for (const ByteVector& a : all) {
        const std::uint32_t vendor = std::uint32_t(a[1]) << 16 | std::uint32_t(a[2]) << 8 | std::uint32_t(a[3]);
        if (vendor == raw::default_vendor) types.push_back(type_of(a));
        components += vendor == patnc::vendor_tcg && type_of(a) == pts::type::simple_component_evidence ? 1 : 0;
        segments += vendor == patnc::vendor_tcg && type_of(a) == patnc::type::segment_envelope ? 1 : 0;
      }
      return false;
    });
    return message;
  }
  std::vector<std::uint32_t> types;
  std::size_t components = 0, segments = 0;
};

class EndpointRaw : public testing::TestWithParam<endpoint::KeyAlgorithm> {
 protected:
  EndpointRaw() : machine_(machine(GetParam())) {
    world_.enrol(machine_.tpm->ak(), device());
    converse(world_, machine_);  // the firmware in evidence items
    world_.approve(device());
    options_.raw_evidence = true;
  }
  std::string device() const { return machine_.tpm->ak().key_id(); }

  World world_;
  Machine machine_;
  ClientOptions options_;
};

TEST_P(EndpointRaw, ASignedListWithViolationsIsJudgedAsTheKernelHasIt) {
  machine_.reboot(signed_list());
  for (const std::size_t max_batch : {std::size_t(1) << 20, std::size_t(65'522), std::size_t(4'096)}) {
    world_.settings.max_batch = options_.max_batch = max_batch;
    Heard heard;
    const Outcome out = converse(world_, machine_, options_, std::ref(heard));
    ASSERT_TRUE(out.answer && out.verdict) << out.error;
    EXPECT_EQ(out.answer->recommendation, endpoint::Recommendation::allow) << pipeline::to_json(*out.verdict).substr(0, 2000);
    EXPECT_EQ(out.verdict->ima.processed, recorded_entries + 5);
    EXPECT_EQ(out.verdict->ima.violations, 2U);
    EXPECT_EQ(out.verdict->ima.ok, 1627U) << "both signed files are known by their digests";
    EXPECT_EQ(out.verdict->ima.failed + out.verdict->ima.differ, 0U);
    EXPECT_EQ(out.verdict->boot.ok, 136U) << "the same firmware as in evidence items";
    for (const char* code : {"Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9", "L1", "L2", "L3", "L4", "L5", "L14"})
      EXPECT_EQ(check(out, code), Status::ok) << code;
    EXPECT_NE(check(out, "L6"), Status::absent) << "event data came and is judged";
    EXPECT_EQ(heard.components, 0U) << "nothing is sent twice";
    EXPECT_EQ(heard.segments > 0, max_batch < machine_.list.size());
    EXPECT_EQ(heard.types.front(), raw::type::capabilities);
    EXPECT_EQ(heard.types.back(), raw::type::quote);
    std::set<std::string> named;
    for (const pipeline::Finding& f : out.verdict->findings)
      if (f.entry && *f.entry >= recorded_entries) named.insert(f.path);
    EXPECT_EQ(named, (std::set<std::string>{"/var/log/auth.log", "/var/log/syslog", "kexec-cmdline"}));
    EXPECT_TRUE(out.notes.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Keys, EndpointRaw,
                         testing::Values(endpoint::KeyAlgorithm::ecc, endpoint::KeyAlgorithm::rsassa,
                                         endpoint::KeyAlgorithm::rsapss),
                         [](const auto& key) {
                           return std::string(key.param == endpoint::KeyAlgorithm::ecc      ? "ecc"
                                              : key.param == endpoint::KeyAlgorithm::rsassa ? "rsassa"
                                                                                             : "rsapss");
                         });

using EndpointRawEcc = EndpointRaw;
INSTANTIATE_TEST_SUITE_P(Keys, EndpointRawEcc, testing::Values(endpoint::KeyAlgorithm::ecc));

// Signature, buffer and the name in a violation are of the template data that the PCR covers, or aren't.
TEST_P(EndpointRawEcc, AListThatWasChangedBehindTheTpmIsRefused) {
  machine_.reboot(signed_list());
  const ByteVector list = machine_.list;
  const auto with = [&](std::string_view text, std::size_t at) {
    ByteVector changed = list;
    const auto found = std::find_end(changed.begin(), changed.end(), as_bytes(text).begin(), as_bytes(text).end());
    EXPECT_NE(found, changed.end());
    *(found + std::ptrdiff_t(at)) ^= std::byte{1};
    machine_.list = std::move(changed);
    return converse(world_, machine_, options_);
  };
  for (const std::string_view text : {std::string_view("\3\3\3\3"), std::string_view("root=/dev/sda1 ro")}) {
    const Outcome out = with(text, 0);
    ASSERT_TRUE(out.answer && out.verdict) << out.error;
    EXPECT_EQ(out.answer->recommendation, endpoint::Recommendation::isolate);
    EXPECT_EQ(check(out, "Q7"), Status::failed);
  }
  // A violation's name isn't covered, and is told as the client's word.
  const Outcome named = with("/var/log/auth.log", 9);
  EXPECT_EQ(named.answer->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(named.verdict->ima.violations, 2U);
  EXPECT_FALSE(named.verdict->claims.empty());
  machine_.list = list;
  EXPECT_EQ(converse(world_, machine_, options_).answer->recommendation, endpoint::Recommendation::allow);
}

TEST_P(EndpointRawEcc, ServerWithoutTheExtensionGetsEvidenceItems) {
  world_.settings.raw_evidence = false;
  Heard heard;
  Outcome out = converse(world_, machine_, options_, std::ref(heard));
  ASSERT_TRUE(out.answer && out.verdict) << out.error;
  EXPECT_EQ(out.answer->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(heard.types, std::vector<std::uint32_t>{raw::type::capabilities});
  EXPECT_EQ(heard.components, 1 + recorded_entries + 136) << "with boot_aggregate";
  world_.settings.raw_evidence = true;
  world_.settings.raw_vendor = 4711;
  out = converse(world_, machine_, options_);
  ASSERT_TRUE(out.answer && out.verdict) << out.error;
  EXPECT_EQ(out.answer->recommendation, endpoint::Recommendation::allow) << "the other vendor's attribute is skipped";
  EXPECT_EQ(check(out, "L6"), Status::absent);
}

class EndpointFiles : public testing::Test {
 protected:
  EndpointFiles() : machine_(machine()), folder_(world_.folder / "files") {
    world_.enrol(machine_.tpm->ak(), machine_.tpm->ak().key_id(), "Debian 12 x86_64", {"CN=test"});
    std::filesystem::create_directories(folder_ / "d" / "below");
    write("own", "first");
    write("d/a", "a");
    write("d/b", "b");
    write("d/below/c", "c");
    options_.files = &files_;
  }
  void write(const std::string& name, std::string_view text) const { std::ofstream(folder_ / name) << text; }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  const Outcome& ask(const std::vector<std::string>& items) {
    world_.settings.policy = asking_for(items);
    out_ = converse(world_, machine_, options_);
    EXPECT_TRUE(out_.answer && out_.verdict) << out_.error;
    return out_;
  }
  // What an item came to, as "compliant: file measurement correct".
  std::string result(std::string_view type, std::string_view argument = {}) const {
    for (const pipeline::ItemResult& i : out_.verdict->items)
      if (i.type == type && (argument.empty() || i.argument == argument))
        return std::string(name(i.evaluation)) + ": " + i.result;
    return "no result";
  }
  std::set<std::string> found(Status status) const {
    std::set<std::string> out;
    for (const pipeline::Finding& f : out_.verdict->findings)
      if (f.component == "file" && f.status == status) out.insert(f.path);
    return out;
  }

  World world_;
  const Machine machine_;
  std::filesystem::path folder_;
  endpoint::LocalFiles files_;
  ClientOptions options_;
  Outcome out_;
};

TEST_F(EndpointFiles, AFileIsLearnedAndComparedWithWhatWasLearned) {
  ask({"FREFM " + at("own")});
  EXPECT_EQ(result("FREFM"), "compliant: file reference measurement successful");
  EXPECT_EQ(out_.answer->recommendation, endpoint::Recommendation::allow);
  ask({"FMEAS " + at("own")});
  EXPECT_EQ(result("FMEAS"), "compliant: file measurement correct");
  EXPECT_EQ(out_.answer->recommendation, endpoint::Recommendation::allow);
  write("own", "second");
  ask({"FMEAS " + at("own")});
  EXPECT_EQ(result("FMEAS"), "minor: file measurement not correct");
  EXPECT_EQ(found(Status::differ), std::set<std::string>{at("own")});
  EXPECT_EQ(out_.answer->recommendation, endpoint::Recommendation::isolate);
}

TEST_F(EndpointFiles, ADirectoryIsLearnedAndComparedFileByFile) {
  ask({"DREFM " + at("d")});
  EXPECT_EQ(result("DREFM"), "compliant: directory reference measurement successful");
  ask({"DMEAS " + at("d")});
  EXPECT_EQ(result("DMEAS"), "compliant: directory measurement correct");
  write("d/b", "changed");
  write("d/new", "new");
  std::filesystem::remove(folder_ / "d" / "a");
  ask({"DMEAS " + at("d")});
  EXPECT_EQ(result("DMEAS"), "minor: directory measurement not correct");
  EXPECT_EQ(found(Status::differ), (std::set<std::string>{at("d/a"), at("d/b")}));
  EXPECT_EQ(found(Status::unknown), std::set<std::string>{at("d/new")});
}

TEST_F(EndpointFiles, ALargeDirectoryComesInSegments) {
  std::filesystem::create_directories(folder_ / "many");
  for (int i = 0; i < 300; ++i) write("many/file" + std::to_string(i), std::to_string(i));
  world_.settings.max_batch = options_.max_batch = 4'096;
  ask({"DREFM " + at("many")});
  EXPECT_EQ(result("DREFM"), "compliant: directory reference measurement successful");
  EXPECT_EQ(world_.state->learned_files(machine_.tpm->ak().key_id(), HashAlgorithm::sha256, at("many"))->size(), 300U);
  write("many/file299", "changed");
  ask({"DMEAS " + at("many"), "DMETA " + at("many")});
  EXPECT_EQ(result("DMEAS"), "minor: directory measurement not correct");
  EXPECT_EQ(found(Status::differ), std::set<std::string>{at("many/file299")});
  EXPECT_EQ(result("DMETA"), "compliant: directory metadata requested");
}

TEST_F(EndpointFiles, MetadataArrivesAsTheFileHasIt) {
  ask({"FMETA " + at("own"), "DMETA " + at("d")});
  EXPECT_EQ(result("FMETA"), "compliant: file metadata requested");
  EXPECT_EQ(result("DMETA"), "compliant: directory metadata requested");
  const auto logged = [&](const std::string& text) {
    return std::any_of(out_.lines.begin(), out_.lines.end(),
                       [&](const std::string& line) { return line.find(text) != line.npos; });
  };
  EXPECT_TRUE(logged("'own' regular file, 5 bytes"));
  EXPECT_TRUE(logged("'below' directory"));
}

TEST_F(EndpointFiles, AFileThatCanNotBeLookedAtConcernsItsItemAlone) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  write("own", "first");
  ask({"FREFM " + at("own"), "FMEAS " + at("gone"), "FMEAS " + at("fifo"), "DMEAS " + at("own"), "FMETA " + at("gone")});
  EXPECT_EQ(result("FREFM"), "compliant: file reference measurement successful");
  EXPECT_EQ(result("FMEAS", at("gone")), "error: File Not Found");
  EXPECT_EQ(result("FMEAS", at("fifo")), "error: Invalid Path");
  EXPECT_EQ(result("DMEAS"), "error: File Not Found");
  EXPECT_EQ(result("FMETA"), "error: File Not Found");
}

TEST_F(EndpointFiles, AnEndpointThatShowsNoFilesSaysSo) {
  options_.files = nullptr;
  ask({"FMEAS " + at("own"), "DMEAS " + at("d"), "FMETA " + at("own")});
  for (const char* type : {"FMEAS", "DMEAS", "FMETA"}) EXPECT_EQ(result(type), "error: PTS Operation Not Supported");
  EXPECT_NE(out_.answer->recommendation, endpoint::Recommendation::allow);
}

}  // namespace
}  // namespace gatehouse::test

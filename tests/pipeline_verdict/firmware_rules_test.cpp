// L6-L12 as a policy's rules enforce them (spec part 2 §6.8): a log that keeps to each passes, one that doesn't fails,
// also when its events are called something else.
#include <functional>

#include "base/hex.h"
#include "base/writer.h"
#include "pipeline/verdict/kernel_words.h"
#include "tests/corpus/corpus.h"
#include "tests/pipeline_verdict/support.h"

namespace gatehouse::testing {
namespace {

using pipeline::EvidenceRules;
using pipeline::EvidenceRulesPtr;

constexpr std::uint32_t ev_ipl = 0x0D, ev_application = 0x80000003;
const ByteVector owner(16, std::byte{9});
Digest sha256_of(std::string_view text) { return digest_of(sha256, as_bytes(text)); }
Digest digest(std::string_view hex) { return Digest(*from_hex(hex)); }

ByteVector joined(std::initializer_list<Bytes> parts) {
  ByteVector out;
  for (const Bytes part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

constexpr std::string_view type_sha256 = "2616c4c14c509240aca941f936934328",
                           type_x509 = "a159c0a5e494a74a87b5ab155c2bf072",
                           type_x509_sha256 = "92a4d23bc0967940b420fcf98ef103ed";
ByteVector signature_list(std::string_view type, const std::vector<ByteVector>& entries) {
  Writer w;
  w.put_bytes(*from_hex(type));
  const std::size_t one = 16 + entries.front().size();
  w.put_le(std::uint32_t(28 + entries.size() * one));
  w.put_le(std::uint32_t{0});
  w.put_le(std::uint32_t(one));
  for (const ByteVector& entry : entries) {
    w.put_bytes(owner);
    w.put_bytes(entry);
  }
  return std::move(w).take();
}
ByteVector hash_list(std::initializer_list<std::string_view> images) {
  std::vector<ByteVector> entries;
  for (const std::string_view image : images) entries.push_back(to_vector(sha256_of(image).view()));
  return signature_list(type_sha256, entries);
}

// shim, GRUB and a kernel, each signed by one of two vendors; an option ROM with the first one's signature.
Log machine() {
  Log log = good();
  std::erase_if(log, [](const Event& e) { return e.pcr == 8 || e.type == ev_authority || e.type == ev_application; });
  for (Event& e : log) {
    if (e.pcr == 7 && e.data == variable("database", "db", key))
      e.data = variable("database", "db", signature_list(type_x509, {bytes("vendor one")}));
    if (e.pcr == 7 && e.data == variable("database", "dbx", {}))
      e.data =
          variable("database", "dbx",
                   joined({hash_list({"bad shim", "bad grub"}), signature_list(type_x509, {bytes("lost key")}),
                           signature_list(type_x509_sha256, {joined({sha256_of("old key").view(), ByteVector(16)})})}));
  }
  const auto before =
      std::find_if(log.begin(), log.end(), [](const Event& e) { return e.pcr == 7 && e.type == ev_separator; });
  log.insert(before,
             Event{7, ev_authority, variable("database", "db", joined({owner, bytes("vendor one")})), {}, false});
  log.push_back({4, ev_action, bytes("Calling EFI Application from Boot Option"), {}, false});
  for (const std::string_view image : {"shim", "grub", "kernel"})
    log.push_back({4, ev_application, bytes("path"), sha256_of(image), false});
  log.push_back({7,
                 ev_authority,
                 variable("shim", "SbatLevel", bytes("sbat,1,2023012900\nshim,2\ngrub,3\ngrub.debian,4\n")),
                 {},
                 false});
  log.push_back({7, ev_authority, variable("shim", "MokListTrusted", one), {}, false});
  log.push_back({7, ev_authority, variable("shim", "Shim", bytes("vendor two")), {}, false});
  log.push_back({14, ev_ipl, bytes(std::string_view("MokList\0", 8)), sha256_of("list"), false});
  const auto grub = [&](std::string_view label, std::string_view text) {
    log.push_back({8, ev_ipl, bytes(std::string(label) + std::string(text) + '\0'), sha256_of(text), false});
  };
  grub("grub_cmd: ", "set root=hd0,gpt2");
  grub("grub_cmd: ", "menuentry rescue {\n linux /vmlinuz init=/bin/sh\n}");
  grub("grub_cmd: ", "linux /vmlinuz root=/dev/sda1 ima_policy=tcb");
  grub("kernel_cmdline: ", "/vmlinuz root=/dev/sda1 ima_policy=tcb");
  grub("grub_cmd: ", "initrd /initrd.img");
  return log;
}

EvidenceRulesPtr rules(auto&& set) {
  EvidenceRules out;
  out.name = "test";
  set(out.firmware);
  const auto sort = [](auto& list) {
    if (list) std::sort(list->begin(), list->end());
  };
  sort(out.firmware.revoked);
  sort(out.firmware.authorities);
  sort(out.firmware.boot_loaders);
  return std::make_shared<const EvidenceRules>(std::move(out));
}
using pipeline::FirmwareRules;
EvidenceRulesPtr revoking(std::initializer_list<std::string_view> what) {
  return rules([&](FirmwareRules& f) {
    f.revoked.emplace();
    for (const std::string_view one : what) f.revoked->push_back(sha256_of(one));
  });
}
EvidenceRulesPtr trusting(std::initializer_list<Digest> what) {
  return rules([&](FirmwareRules& f) { f.authorities = what; });
}
EvidenceRulesPtr booting(std::initializer_list<std::string_view> images) {
  return rules([&](FirmwareRules& f) {
    f.boot_loaders.emplace();
    for (const std::string_view one : images) f.boot_loaders->push_back(sha256_of(one));
  });
}
EvidenceRulesPtr sbat(std::vector<pipeline::SbatGeneration> least) {
  return rules([&](FirmwareRules& f) { f.sbat = std::move(least); });
}
EvidenceRulesPtr lines(std::vector<std::string> required, std::vector<std::string> forbidden) {
  return rules([&](FirmwareRules& f) { f.command_line = {std::move(required), std::move(forbidden)}; });
}
const EvidenceRulesPtr two_vendors = trusting({sha256_of("vendor one"), sha256_of("vendor two")});
const EvidenceRulesPtr three_images = booting({"shim", "grub", "kernel"});
const EvidenceRulesPtr measured_tcb = lines({"ima_policy=*"}, {"init=*", "ima_appraise=off"});

std::string failed(const EvidenceRulesPtr& rule, const Log& log) {
  return check(log, eventlog::Format::crypto_agile, {rule}).failed();
}
std::string failed(const EvidenceRulesPtr& rule, const std::function<void(Log&)>& change) {
  Log log = machine();
  change(log);
  return failed(rule, log);
}
Event& event_of(Log& log, std::uint32_t pcr, Bytes data) {
  const auto at =
      std::find_if(log.begin(), log.end(), [&](const Event& e) { return e.pcr == pcr && equal(e.data, data); });
  EXPECT_NE(at, log.end());
  return *at;
}
Event& dbx(Log& log) {
  return *std::find_if(log.begin(), log.end(), [](const Event& e) {
    return e.pcr == 7 && e.data.size() > 38 && e.data[32] == std::byte{'d'} && e.data[36] == std::byte{'x'};
  });
}
void append(Log& log, std::uint32_t pcr, std::uint32_t type, ByteVector data, std::optional<Digest> measured = {}) {
  log.push_back({pcr, type, std::move(data), measured, false});
}

TEST(FirmwareRules, AMachineThatKeepsToAllOfThemPasses) {
  const Checked c = check(machine(), eventlog::Format::crypto_agile,
                          {revoking({"bad shim", "lost key", "old key"}), two_vendors, three_images,
                           sbat({{"shim", 2}, {"grub.debian", 4}}), measured_tcb,
                           rules([](FirmwareRules& f) { f.secure_boot = f.no_debug = true; })});
  EXPECT_EQ(c.failed(), "") << (c.findings.empty() ? "" : c.findings[0].reason);
  for (const char* code : {"L6", "L7", "L8", "L9", "L10", "L11", "L12"})
    EXPECT_EQ(c.checks.at(code), Status::ok) << code;
  // What no rule speaks of isn't judged.
  EXPECT_FALSE(check(machine(), eventlog::Format::crypto_agile, {three_images}).checks.contains("L8"));
}

TEST(FirmwareRules, EachOfSeveralIsHeldForItself) {
  const Checked c = check(machine(), eventlog::Format::crypto_agile, {three_images, booting({"shim", "grub"})});
  EXPECT_EQ(c.failed(), "L10");
  ASSERT_EQ(c.findings.size(), 1U);
  EXPECT_EQ(c.findings[0].reason,
            "L10: sha256:" + sha256_of("kernel").hex() + " isn't an allowed boot loader (rules \"test\")");
  EXPECT_EQ(c.findings[0].pcr, 4U);
}

TEST(FirmwareRules, L7Revocations) {
  const auto rule = revoking({"bad shim", "bad grub"});
  EXPECT_EQ(failed(rule, machine()), "");
  EXPECT_EQ(failed(revoking({"bad shim", "worse shim"}), machine()), "L7");
  EXPECT_EQ(failed(rule, [](Log& l) { dbx(l).data = variable("database", "dbx", hash_list({"bad grub"})); }), "L7");
  EXPECT_EQ(failed(rule, [](Log& l) { dbx(l).data = variable("database", "dbx", {}); }), "L7");
  EXPECT_EQ(failed(rule,
                   [](Log& l) {
                     dbx(l).data = variable("database", "dbx", bytes("no list at all, but long enough for one"));
                   }),
            "L7");
  EXPECT_EQ(failed(rule, [](Log& l) { dbx(l).digest = sha256_of("another"); }), "L6 L7")
      << "data that isn't what was measured";
  EXPECT_EQ(failed(rule, [](Log& l) { dbx(l).type = ev_ipl; }), "") << "a type proves nothing, and its absence neither";
}

TEST(FirmwareRules, L7RevocationsThatComeLaterDoNotCount) {
  const auto rule = revoking({"bad shim"});
  const ByteVector full = variable("database", "dbx", hash_list({"bad shim"}));
  EXPECT_EQ(failed(rule,
                   [&](Log& l) {
                     dbx(l).data = variable("database", "dbx", {});
                     append(l, 7, ev_authority, full);  // by root, and called an authority to pass L5
                   }),
            "L7");
  EXPECT_EQ(failed(rule,
                   [&](Log& l) {
                     dbx(l).type = ev_ipl;
                     dbx(l).data = bytes("what isn't measured");
                     append(l, 7, ev_authority, full);
                   }),
            "L7");
}

TEST(FirmwareRules, L8Authorities) {
  EXPECT_EQ(failed(two_vendors, machine()), "");
  EXPECT_EQ(failed(trusting({sha256_of("vendor one")}), machine()), "L8");
  EXPECT_EQ(failed(trusting({sha256_of("vendor two")}), machine()), "L8") << "the option ROM's, before the separator";
  const Digest measured = digest_of(sha256, variable("shim", "Shim", bytes("vendor two")));
  EXPECT_EQ(failed(trusting({sha256_of("vendor one"), measured}), machine()), "");
  const ByteVector by_hash = variable("database", "db", joined({owner, sha256_of("image").view()}));
  EXPECT_EQ(failed(two_vendors, [&](Log& l) { append(l, 7, ev_authority, by_hash); }), "L8");
}

TEST(FirmwareRules, L8AnAuthorityUnderAnotherName) {
  const ByteVector third = variable("database", "db", joined({owner, bytes("vendor three")}));
  const auto before_separator = [](Log& l, Event e) {
    l.insert(std::find_if(l.begin(), l.end(), [](const Event& at) { return at.pcr == 7 && at.type == ev_separator; }),
             std::move(e));
  };
  for (const std::uint32_t type : {ev_authority, ev_variable, ev_action, ev_ipl})
    EXPECT_NE(failed(two_vendors,
                     [&](Log& l) {
                       before_separator(l, {7, type, third, {}, false});
                     })
                  .find("L8"),
              std::string::npos)
        << type;
  EXPECT_EQ(failed(two_vendors, [&](Log& l) { append(l, 7, ev_authority, third); }), "L8");
  EXPECT_EQ(
      failed(two_vendors, [&](Log& l) { append(l, 7, ev_authority, bytes("not measured"), digest_of(sha256, third)); }),
      "L8");
  EXPECT_EQ(failed(two_vendors,
                   [&](Log& l) {
                     before_separator(l, {7, ev_action, bytes("not measured"), digest_of(sha256, third), false});
                   }),
            "L8");
  EXPECT_EQ(failed(two_vendors, [&](Log& l) { append(l, 7, ev_authority, bytes("a text")); }), "L8");
  // shim's state is no authority; a variable of that name in another name space is one.
  EXPECT_EQ(
      failed(two_vendors,
             [&](Log& l) { append(l, 7, ev_authority, variable("database", "SbatLevel", bytes("vendor three"))); }),
      "L8");
}

// Older versions of shim measure 5 bytes of padding behind the variable, and log one more.
TEST(FirmwareRules, L8AVariableWithItsPadding) {
  const ByteVector measured = joined({variable("shim", "Shim", bytes("vendor two")), ByteVector(5)});
  EXPECT_EQ(failed(two_vendors,
                   [&](Log& l) {
                     append(l, 7, ev_authority, joined({measured, one}), digest_of(sha256, measured));
                   }),
            "");
  const ByteVector other = joined({variable("shim", "Shim", bytes("vendor three")), ByteVector(5)});
  EXPECT_EQ(failed(two_vendors,
                   [&](Log& l) {
                     append(l, 7, ev_authority, joined({other, one}), digest_of(sha256, other));
                   }),
            "L8");
}

TEST(FirmwareRules, L10BootLoaders) {
  EXPECT_EQ(failed(three_images, machine()), "");
  EXPECT_EQ(failed(booting({"shim", "grub"}), machine()), "L10");
  const auto other = sha256_of("evil");
  for (const std::uint32_t type : {ev_application, ev_action, ev_separator, ev_ipl, std::uint32_t(1)})
    EXPECT_NE(failed(three_images,
                     [&](Log& l) { append(l, 4, type, bytes("Calling EFI Application from Boot Option"), other); })
                  .find("L10"),
              std::string::npos)
        << type;
  EXPECT_EQ(failed(three_images,
                   [&](Log& l) { append(l, 4, ev_action, bytes("Returning from EFI Application from Boot Option")); }),
            "");
  EXPECT_EQ(failed(three_images, [&](Log& l) { append(l, 4, 0x12, bytes("BOOT ATTEMPTS OMITTED")); }), "");
  EXPECT_EQ(failed(three_images, [&](Log& l) { append(l, 4, ev_action, bytes("any other text")); }), "L10");
  EXPECT_EQ(
      failed(three_images, [&](Log& l) { std::erase_if(l, [](const Event& e) { return e.type == ev_application; }); }),
      "L10");
  EXPECT_EQ(failed(three_images, [&](Log& l) { l.push_back({4, ev_application, {}, {}, true}); }), "L10 L13");
}

TEST(FirmwareRules, L11Shim) {
  EXPECT_EQ(failed(sbat({{"shim", 2}, {"grub", 3}}), machine()), "");
  EXPECT_EQ(failed(sbat({{"shim", 3}}), machine()), "L11");
  EXPECT_EQ(failed(sbat({{"grub.fedora", 1}}), machine()), "L11");
  EXPECT_EQ(failed(sbat({{"shi", 1}}), machine()), "L11");
  const auto rule = sbat({{"shim", 2}});
  const auto level = [](Log& l) -> Event& {
    return event_of(l, 7, variable("shim", "SbatLevel", bytes("sbat,1,2023012900\nshim,2\ngrub,3\ngrub.debian,4\n")));
  };
  EXPECT_EQ(failed(rule, [&](Log& l) { level(l).data = variable("shim", "SbatLevel", bytes("sbat,1,2021030218\n")); }),
            "L11");
  EXPECT_EQ(failed(rule, [&](Log& l) { level(l).data = variable("shim", "SbatLevel", bytes("shim,2x\n")); }), "L11");
  EXPECT_EQ(failed(rule, [&](Log& l) { level(l).data = variable("database", "SbatLevel", bytes("shim,9\n")); }), "L11");
  EXPECT_EQ(failed(rule, [&](Log& l) { level(l).digest = sha256_of("another"); }), "L11");
  // A better one beside it doesn't help.
  EXPECT_EQ(failed(rule,
                   [&](Log& l) {
                     level(l).data = variable("shim", "SbatLevel", bytes("shim,1\n"));
                     append(l, 7, ev_authority, variable("shim", "SbatLevel", bytes("shim,9\n")));
                   }),
            "L11");
}

TEST(FirmwareRules, L11ValidationThatIsSwitchedOff) {
  const auto rule = sbat({{"shim", 2}});
  const ByteVector off = variable("shim", "MokSBState", one);
  EXPECT_EQ(failed(rule, [&](Log& l) { append(l, 7, ev_authority, variable("shim", "MokSBState", zero)); }), "");
  EXPECT_EQ(failed(rule, [&](Log& l) { append(l, 7, ev_authority, off); }), "L11");
  EXPECT_EQ(failed(rule,
                   [&](Log& l) {
                     append(l, 7, ev_authority, joined({off, one}), digest_of(sha256, off));
                   }),
            "L11");
  EXPECT_EQ(
      failed(rule,
             [&](Log& l) { append(l, 7, ev_authority, variable("shim", "MokSBState", zero), digest_of(sha256, off)); }),
      "L11");
  EXPECT_EQ(failed(rule, [&](Log& l) { append(l, 7, ev_authority, bytes("hidden"), digest_of(sha256, off)); }), "L11");
  EXPECT_EQ(failed(rule,
                   [&](Log& l) {
                     append(l, 14, ev_ipl, bytes(std::string_view("MokSBState\0", 11)), digest_of(sha256, one));
                   }),
            "L11");
  EXPECT_EQ(failed(rule,
                   [&](Log& l) {
                     append(l, 14, ev_ipl, bytes(std::string_view("MokSBState\0", 11)), digest_of(sha256, zero));
                   }),
            "");
}

TEST(FirmwareRules, L12CommandLine) {
  EXPECT_EQ(failed(measured_tcb, machine()), "") << "a menu's entry isn't a command before it is chosen";
  EXPECT_EQ(failed(lines({"ima_policy=secure_boot"}, {}), machine()), "L12");
  EXPECT_EQ(failed(lines({}, {"root=/dev/sda*"}), machine()), "L12");
  const auto with = [](std::string_view label, std::string_view text, std::uint32_t pcr = 8) {
    return failed(measured_tcb, [&](Log& l) {
      append(l, pcr, ev_ipl, bytes(std::string(label) + std::string(text) + '\0'), sha256_of(text));
    });
  };
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz ima_policy=tcb"), "");
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz root=/dev/sda1"), "L12") << "a second kernel without";
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz ima_policy=tcb init=/bin/sh"), "L12");
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz ima_policy=tcb ima-appraise=off"), "L12") << "the kernel's - is _";
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz ima_policy=tcb \"init=/bin/sh -x\""), "L12");
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz ima_policy=tcb\xA0init=/bin/sh"), "L12");
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz quiet -- ima_policy=tcb"), "L12") << "that is init's";
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz \"x=ima_policy=tcb\" y=\"1 ima_policy=tcb\""), "L12");
  EXPECT_EQ(with("kernel_cmdline: ", "/vmlinuz " + std::string(2100, 'x') + " ima_policy=tcb"), "L12")
      << "the kernel cuts that off";
  EXPECT_EQ(failed(measured_tcb, [](Log& l) { std::erase_if(l, [](const Event& e) { return e.pcr == 8; }); }), "L12");
}

TEST(FirmwareRules, L12OfAParameterThatComesTwiceTheLastOneCounts) {
  const auto rule = lines({"lockdown=confidentiality"}, {});
  const auto of = [&](std::string_view line) {
    return failed(rule, [&](Log& l) {
      std::erase_if(l, [](const Event& e) { return e.pcr == 8; });
      append(l, 8, ev_ipl, bytes("kernel_cmdline: " + std::string(line)), sha256_of(line));
    });
  };
  EXPECT_EQ(of("/vmlinuz lockdown=confidentiality"), "");
  EXPECT_EQ(of("/vmlinuz lockdown=none lockdown=confidentiality"), "");
  EXPECT_EQ(of("/vmlinuz lockdown=confidentiality lockdown=none"), "L12");
}

TEST(FirmwareRules, L12UnderAnotherLabel) {
  const std::string bad = "/vmlinuz root=/dev/sda1 init=/bin/sh";
  for (const std::string_view label : {"kernel_cmdline: ", "grub_cmd: ", "module_cmdline: ", "grub_cmd ", ""})
    for (const std::uint32_t type : {ev_ipl, ev_action, std::uint32_t(6)})
      EXPECT_EQ(failed(measured_tcb,
                       [&](Log& l) { append(l, 8, type, bytes(std::string(label) + bad + '\0'), sha256_of(bad)); }),
                "L12")
          << label << type;
  // Without the words that are demanded, too.
  for (const std::string_view text : {"/vmlinuz quiet", "(hd0,gpt2)/vmlinuz quiet", "linux /vmlinuz quiet",
                                      "linuxefi /vmlinuz quiet", "chainloader /vmlinuz.efi quiet"})
    EXPECT_EQ(
        failed(measured_tcb,
               [&](Log& l) { append(l, 8, ev_ipl, bytes("grub_cmd: " + std::string(text) + '\0'), sha256_of(text)); }),
        "L12")
        << text;
  // Other words than those that were measured.
  EXPECT_EQ(failed(measured_tcb, [&](Log& l) { append(l, 8, ev_ipl, bytes("grub_cmd: true"), sha256_of(bad)); }),
            "L12");
  EXPECT_EQ(failed(measured_tcb, [&](Log& l) { append(l, 12, ev_ipl, bytes("ima_policy=tcb"), sha256_of(bad)); }),
            "L12");
}

ByteVector utf16(std::string_view text) {
  ByteVector out;
  for (const char c : text) {
    out.push_back(std::byte(c));
    out.push_back({});
  }
  return out;
}

TEST(FirmwareRules, L12OptionsOfAUefiApplication) {
  const auto of = [](ByteVector data, std::optional<Digest> measured = {}, std::uint32_t pcr = 12) {
    return failed(measured_tcb, [&](Log& l) {
      std::erase_if(l, [](const Event& e) { return e.pcr == 8; });
      append(l, pcr, ev_ipl, std::move(data), measured);
    });
  };
  const ByteVector end(2);
  EXPECT_EQ(of(joined({utf16("quiet ima_policy=tcb"), end})), "");
  EXPECT_EQ(of(joined({utf16("quiet ima_policy=tcb"), end}), {}, 8), "") << "older ones measure into PCR 8";
  EXPECT_EQ(of(joined({utf16("quiet ima_policy=tcb"), one.size() ? ByteVector(1) : end}),
               digest_of(sha256, joined({utf16("quiet ima_policy=tcb"), end})), 8),
            "")
      << "and log a byte less";
  EXPECT_EQ(of(joined({utf16("quiet"), end})), "L12");
  EXPECT_EQ(of(joined({utf16("ima_policy=tcb init=/bin/sh"), end})), "L12");
  EXPECT_EQ(of(joined({utf16("quiet\nima_policy=tcb"), end})), "L12") << "behind the line's end nothing is read";
  EXPECT_EQ(of(joined({utf16("ima_policy=tcb"), end, utf16("quiet"), end})), "L12")
      << "what is behind the end hides something";
  EXPECT_EQ(of(ByteVector(4)), "L12") << "a separator is no command line";
}

TEST(KernelWords, AreTakenApartAsTheKernelDoesIt) {
  const auto words = [](std::string_view line) {
    std::string out;
    for (const auto& word : pipeline::kernel_words(line)) out += "[" + word.text + "]";
    return out;
  };
  EXPECT_EQ(words(""), "");
  EXPECT_EQ(words("  a  b=c\td-e=f-g\n"), "[a][b=c][d_e=f-g]");
  EXPECT_EQ(words("a=\"b c\" d"), "[a=b c][d]");
  EXPECT_EQ(words("\"a=b c\" d"), "[a=b c][d]");
  EXPECT_EQ(words("\"a b\" c"), "[a b][c]");
  EXPECT_EQ(words("a=\"b c"), "[a=b c]");
  EXPECT_EQ(words("=a=b -- c-d"), "[=a=b][--][c_d]");
  EXPECT_EQ(words("\""), "[]");
}

// Real machines. What they hold was looked up in their logs.
class RealLogs : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
  }
  static std::string failed(const std::string& file, const EvidenceRulesPtr& rule, HashAlgorithm bank = sha256) {
    std::string out;
    for (const char* code : {"L7", "L8", "L10", "L11", "L12"}) {
      const Checked c = check_file(corpus + "eventlog/" + file, bank, {rule});
      const auto at = c.checks.find(code);
      if (at != c.checks.end() && at->second == Status::failed) out += (out.empty() ? "" : " ") + std::string(code);
    }
    return out;
  }
};

TEST_F(RealLogs, L7) {
  // The first image that Microsoft's list of 2016 and all later ones revoke.
  const auto known = rules([](FirmwareRules& f) {
    f.revoked = {digest("80b4d96931bf0d02fd91a61e19d14f1da452e66db2408ca8604d411f92659f0a")};
  });
  for (const char* file : {"arch-linux-workstation.bin", "keylime-locality3.bin", "glinux-alex.bin", "rust-keylime.bin",
                           "crypto_agile.bin"})
    EXPECT_EQ(failed(file, known), "") << file;
  EXPECT_EQ(failed("tpm2-tools-bootorder.bin", known), "L7") << "a short list";
  EXPECT_EQ(failed("ubuntu-2104-no-dbx.bin", known), "L7") << "an empty one";
  EXPECT_EQ(failed("own-three-banks.bin", known), "L7") << "none";
  EXPECT_EQ(failed("tpm2-tools-sd-boot-fedora37.bin", known), "L7");
}

TEST_F(RealLogs, L8) {
  const Digest microsoft = digest("48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507");  // UEFI CA 2011
  const Digest red_hat =
      digest("40175d4c7c5ab4bd753a493f47952f1d8dcf1c219b836968a693e48bd4766135");  // Secure Boot CA 5
  for (const char* file : {"keylime-secureboot.bin", "tpm2-tools-moklisttrusted.bin"}) {
    EXPECT_EQ(failed(file, trusting({microsoft, red_hat})), "") << file;
    EXPECT_EQ(failed(file, trusting({microsoft})), "L8") << file << ": shim vouches with its own certificate";
    EXPECT_EQ(failed(file, trusting({red_hat})), "L8") << file;
  }
  // A shim that logs a byte too many, and its certificate without an owner.
  const Digest google_db = digest("a7b8c851deb2acba7c7d0e6ec091c93440f942c65d776fdcb58016f8fd1674b0");
  EXPECT_EQ(failed("cos-85-amd-sev.bin", trusting({google_db})), "");
  EXPECT_EQ(failed("cos-85-amd-sev.bin", trusting({microsoft})), "L8");
  for (const char* file : {"arch-linux-workstation.bin", "ubuntu-1804-amd-sev.bin"})
    EXPECT_EQ(failed(file, trusting({microsoft})), "") << file << ": nothing was verified, nobody vouched";
}

TEST_F(RealLogs, L10) {
  const auto all_of = [](const std::string& file) {
    const ByteVector log = corpus_file("eventlog/" + file);
    return rules([&](FirmwareRules& f) {
      f.boot_loaders.emplace();
      eventlog::Cursor cursor;
      cursor.feed(log);
      cursor.end();
      for (auto event = cursor.next(); event && *event != nullptr; event = cursor.next())
        if ((*event)->pcr == 4 && (*event)->type == ev_application)
          f.boot_loaders->push_back(Digest((*event)->digest(sha256)->value));
    });
  };
  for (const char* file : {"keylime-secureboot.bin", "hirs-TpmLog.bin", "arch-linux-workstation.bin",
                           "cos-101-amd-sev.bin", "tpm2-tools-postcode.bin"})
    EXPECT_EQ(failed(file, all_of(file)), "") << file;
  EXPECT_EQ(failed("keylime-secureboot.bin", all_of("tpm2-tools-moklisttrusted.bin")), "L10");
  EXPECT_EQ(failed("debian-10.bin", all_of("keylime-secureboot.bin")), "L10") << "SHA-1 only";
}

TEST_F(RealLogs, L11) {
  EXPECT_EQ(failed("keylime-secureboot.bin", sbat({{"shim", 2}, {"grub", 3}})), "");
  EXPECT_EQ(failed("keylime-secureboot.bin", sbat({{"shim", 4}})), "L11");
  EXPECT_EQ(failed("sp800-155.bin", sbat({{"sbat", 1}})), "");
  EXPECT_EQ(failed("sp800-155.bin", sbat({{"shim", 1}})), "L11") << "a level that names no component";
  EXPECT_EQ(failed("rhel8-uefi.bin", sbat({{"sbat", 1}})), "L11") << "a shim before SBAT";
}

TEST_F(RealLogs, L12) {
  for (const char* file : {"keylime-locality3.bin", "keylime-secureboot.bin", "rust-keylime.bin",
                           "tpm2-tools-bootorder.bin", "ubuntu-1804-amd-sev.bin", "rhel8-uefi.bin"})
    EXPECT_EQ(failed(file, lines({"root=*"}, {"init=*", "ima_appraise=*"})), "") << file;
  EXPECT_EQ(failed("sp800-155.bin", lines({}, {"init=*"})), "L12");
  EXPECT_EQ(failed("tpm2-tools-moklisttrusted.bin", lines({"ima_policy=tcb"}, {"ima_appraise=off"})), "");
  EXPECT_EQ(failed("tpm2-tools-moklisttrusted.bin", lines({"ima_policy=tcb"}, {"ima_appraise=fix"})), "L12");
  EXPECT_EQ(failed("coreos_36_shielded_vm_no_secure_boot.bin", lines({"ostree=*", "console=ttyS0,*"}, {"init=*"})), "");
  EXPECT_EQ(failed("cos-85-amd-sev.bin", lines({"rootwait"}, {})), "");
  EXPECT_EQ(failed("ubuntu-2104-no-dbx.bin", lines({"ima_hash=sha256"}, {})), "");
  EXPECT_EQ(failed("ubuntu-2104-no-secure-boot.bin", lines({"ima_hash=sha256"}, {})), "L12");
  EXPECT_EQ(failed("tpm2-tools-sd-boot-fedora37.bin", lines({"console=ttyS0"}, {})), "L12")
      << "what follows overrules it";
  EXPECT_EQ(failed("tpm2-tools-sd-boot-fedora37.bin", lines({"efi=debug"}, {"init=*"})), "");
  EXPECT_EQ(failed("arch-linux-workstation.bin", lines({"initrd=*"}, {"init=*"})), "") << "systemd-boot into PCR 8";
  EXPECT_EQ(failed("crypto_agile.bin", lines({}, {"init=*"})), "L12") << "no command line";
  EXPECT_EQ(failed("own-sha1-form.bin", lines({"root=*"}, {}), HashAlgorithm::sha1), "");
}

}  // namespace
}  // namespace gatehouse::testing

#include "server/imv/attestation/files.h"

#include <algorithm>

#include "base/hex.h"
#include "wire/pts/errors.h"

namespace gatehouse::server {
namespace {

using pipeline::Evaluation;
using pipeline::Status;
using policy::Type;
namespace pt = pts::type;
constexpr std::string_view files_spec = "spec part 2 1.13";
constexpr std::size_t max_directories = 8;  // that are asked for and not answered; long answers come in segments
constexpr std::size_t max_findings = 1'000, max_logged_metadata = 100;

bool is_file_type(Type type) { return type >= Type::frefm && type <= Type::dmeta; }

std::string parent(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return std::string(slash == 0 ? "/" : path.substr(0, slash));
}
std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }
std::string join(std::string_view directory, std::string_view name) {
  return std::string(directory == "/" ? "" : directory) + "/" + std::string(name);
}
// A name that can lie in a directory; others are looked up nowhere.
bool is_name(std::string_view name) { return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos; }

std::string_view file_type(pts::FileType type) {
  switch (type) {
    case pts::FileType::fifo: return "FIFO";
    case pts::FileType::character_device: return "character device";
    case pts::FileType::directory: return "directory";
    case pts::FileType::block_device: return "block device";
    case pts::FileType::regular: return "regular file";
    case pts::FileType::symlink: return "symbolic link";
    case pts::FileType::socket: return "socket";
    case pts::FileType::other: break;
  }
  return "other";
}

}  // namespace

// What the references say of a path in the measured algorithm.
struct FileItems::Known {
  std::vector<Digest> digests;
  bool firm = false;  // not only configuration files
  std::string package, version;
};

bool FileItems::measures(const Task& t) { return t.item->type != Type::fmeta && t.item->type != Type::dmeta; }
bool FileItems::directory(const Task& t) { return t.item->type >= Type::drefm; }
bool FileItems::reference(const Task& t) { return t.item->type == Type::frefm || t.item->type == Type::drefm; }

void FileItems::restart() {
  in_pieces_.clear();
  tasks_.clear();
  references_.reset();
  algorithm_.reset();
  proved_.reset();
  why_not_.clear();
  learned_.clear();
  findings_.clear();
  findings_total_ = 0;
  incorrect_ = pending_ = false;
}

void FileItems::begin(const std::vector<const policy::WorkItem*>& items) {
  for (const policy::WorkItem* item : items)
    if (is_file_type(item->type)) {
      GH_ASSERT(item->id > 0 && item->id <= 0xFFFF);
      tasks_.emplace_back().item = item;
    }
  if (!tasks_.empty()) references_ = c_.host.references();
}

bool FileItems::done() const {
  return std::all_of(tasks_.begin(), tasks_.end(), [](const Task& t) { return t.stage == Stage::finished; });
}

bool FileItems::ask(Channel& channel) {
  if (!algorithm_) return false;
  std::size_t directories = 0, metadata = 0;
  for (const Task& t : tasks_) {
    if (t.stage != Stage::asked && t.stage != Stage::answering) continue;
    if (directory(t)) ++directories;
    if (!measures(t)) ++metadata;
  }
  bool asked = false;
  for (Task& t : tasks_) {
    if (t.stage != Stage::waiting || (!measures(t) && metadata != 0) || (directory(t) && directories >= max_directories)) continue;
    Writer w;
    if (measures(t)) {
      pts::append_file_measurement_request(w, {directory(t), std::uint16_t(t.item->id), pts::delimiter_slash, t.item->path});
    } else {
      pts::append_file_metadata_request(w, {directory(t), std::uint8_t(pts::delimiter_slash), t.item->path});
      ++metadata;
    }
    if (directory(t)) ++directories;
    t.request = std::move(w).take();
    t.stage = Stage::asked;
    (void)channel.add(patnc::noskip, patnc::vendor_tcg, measures(t) ? pt::request_file_measurement : pt::request_file_metadata, t.request);
    asked = true;
  }
  return asked;
}

FileItems::Answer FileItems::open(std::uint32_t type, std::size_t base) const {
  if (type == pt::file_measurement) return {pts::FileMeasurementCursor(base), base};
  return {pts::FileMetadataCursor(base), base};
}

Result<void> FileItems::take(const patnc::Attribute& attribute) {
  Answer answer = open(attribute.type, attribute.value_offset());
  std::visit(
      [&](auto& cursor) {
        cursor.feed(attribute.value);
        cursor.end();
      },
      answer.cursor);
  GH_CHECK(read(answer));
  if (answer.task != nullptr) end(*answer.task);
  return {};
}

Result<void> FileItems::take_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece) {
  const std::pair key{collector, piece.id};
  auto at = in_pieces_.find(key);
  if (piece.at == 0) at = in_pieces_.insert_or_assign(key, open(piece.type, patnc::attribute_header_size)).first;
  if (at == in_pieces_.end()) return {};  // of before a restart
  std::visit(
      [&](auto& cursor) {
        cursor.feed(piece.bytes);
        if (piece.last) cursor.end();
      },
      at->second.cursor);
  GH_CHECK(read(at->second));
  if (!piece.last) return {};
  Task* const task = at->second.task;
  in_pieces_.erase(at);
  if (task != nullptr) end(*task);
  return {};
}

Result<void> FileItems::read(Answer& answer) {
  if (auto* const files = std::get_if<pts::FileMeasurementCursor>(&answer.cursor)) {
    for (;;) {
      GH_TRY(const pts::FileMeasurement* const file, files->next());
      if (files->head() && !std::exchange(answer.begun, true)) GH_CHECK(begin_measurement(answer, *files->head()));
      if (file == nullptr) return {};
      if (answer.task != nullptr) see(*answer.task, *file);
    }
  }
  auto& files = std::get<pts::FileMetadataCursor>(answer.cursor);
  for (;;) {
    GH_TRY(const pts::FileMetadata* const file, files.next());
    if (files.head() && !std::exchange(answer.begun, true)) begin_metadata(answer, *files.head());
    if (file == nullptr) return {};
    if (answer.task == nullptr) continue;
    if (++answer.task->files <= max_logged_metadata) see(*answer.task, *file);
  }
}

Result<void> FileItems::begin_measurement(Answer& answer, const pts::FileMeasurementHead& head) {
  const auto at = std::find_if(tasks_.begin(), tasks_.end(), [&](const Task& t) {
    return t.stage == Stage::asked && measures(t) && t.item->id == head.request_id;
  });
  if (at == tasks_.end()) {
    c_.host.log(LogLevel::warning, "File Measurement for request " + std::to_string(head.request_id) + ", which doesn't wait: ignored");
    return {};
  }
  if (head.count != 0 && head.digest_size != digest_size(*algorithm_))
    return gatehouse::fail(Fault::malformed, "measurements of another algorithm than the negotiated one", files_spec, answer.base + 10);
  c_.host.log(LogLevel::info, "measurement request " + std::to_string(head.request_id) + " returned " + std::to_string(head.count) +
                                  (head.count == 1 ? " file" : " files"));
  Task& task = *at;
  task.stage = Stage::answering;
  if (!directory(task) && head.count != 1) {
    finish(task, Evaluation::error, "the answer has " + std::to_string(head.count) + " files");
    return {};
  }
  if (head.count > max_learned_files) {
    finish(task, Evaluation::error, "the directory has more files than are judged");
    return {};
  }
  if (!reference(task)) {
    const std::string folder = directory(task) ? std::string(task.item->path) : parent(task.item->path);
    auto learned = c_.state.learned_files(c_.info.device_id.value_or(""), *algorithm_, folder);
    if (!learned) {
      finish(task, Evaluation::error, "the state store can't be read: " + std::string(learned.error().reason));
      return {};
    }
    task.learned = std::move(*learned);
    task.known = directory(task) && !task.learned.empty();
  }
  answer.task = &task;
  return {};
}

void FileItems::begin_metadata(Answer& answer, const pts::FileMetadataHead& head) {
  const auto at = std::find_if(tasks_.begin(), tasks_.end(), [](const Task& t) { return t.stage == Stage::asked && !measures(t); });
  if (at == tasks_.end()) return c_.host.log(LogLevel::warning, "Unix-Style File Metadata that wasn't asked for: ignored");
  at->stage = Stage::answering;
  answer.task = &*at;
  c_.host.log(LogLevel::info, "metadata request for '" + escaped(at->item->path) + "' returned " + std::to_string(head.count) +
                                  (head.count == 1 ? " file" : " files"));
}

void FileItems::see(const Task& task, const pts::FileMetadata& file) const {
  c_.host.log(LogLevel::info, "'" + escaped(task.item->path) + "': '" + escaped(file.name) + "' " + std::string(file_type(file.type)) + ", " +
                                  std::to_string(file.size) + " bytes, owner " + std::to_string(file.owner) + ", group " +
                                  std::to_string(file.group) + ", created " + std::to_string(file.created) + ", modified " +
                                  std::to_string(file.modified) + ", accessed " + std::to_string(file.accessed));
}

void FileItems::see(Task& task, const pts::FileMeasurement& file) {
  if (task.stage != Stage::answering) return;  // finished half way
  ++task.files;
  const std::string_view path = task.item->path;
  const Digest measured(file.digest);
  if (!directory(task)) {
    // strongSwan's collector says the base name.
    if (file.name != base_name(path) && file.name != path) return finish(task, Evaluation::error, "the answer is of another file");
    if (reference(task)) {
      task.measured.emplace(base_name(path), measured);
    } else {
      judge(task, base_name(path), std::string(path), measured);
    }
    return;
  }
  if (!is_name(file.name)) {
    if (reference(task)) return finish(task, Evaluation::error, "the answer has a file outside the directory");
    return find(join(path, file.name), Status::unknown, "a name that no file of the directory can have", nullptr, measured);
  }
  if (reference(task)) {
    task.measured.insert_or_assign(std::string(file.name), measured);
  } else {
    judge(task, file.name, join(path, file.name), measured);
  }
}

Result<FileItems::Known> FileItems::look_up(const std::string& path) const {
  Known out;
  if (references_ == nullptr) return out;
  // The store knows paths as a kernel reports them.
  std::string reported = path;
  std::replace(reported.begin(), reported.end(), ' ', '_');
  GH_TRY(const std::vector<refdb::Reference> found, references_->references_of_path(c_.product(), reported));
  for (const refdb::Reference& reference : found) {
    const Digest* const digest = reference.digest(*algorithm_);
    if (digest == nullptr) continue;
    if (out.package.empty() || (!out.firm && !reference.is_mutable)) {
      out.package = reference.package;
      out.version = reference.version;
    }
    out.firm = out.firm || !reference.is_mutable;
    out.digests.push_back(*digest);
  }
  return out;
}

void FileItems::judge(Task& task, std::string_view name, const std::string& path, const Digest& measured) {
  auto known = look_up(path);
  if (!known) return finish(task, Evaluation::error, "the reference store can't be read: " + std::string(known.error().reason));
  if (const auto learned = task.learned.find(std::string(name)); learned != task.learned.end()) {
    known->digests.push_back(learned->second);
    known->firm = true;
    task.learned.erase(learned);
  }
  if (std::find(known->digests.begin(), known->digests.end(), measured) != known->digests.end()) {
    task.known = true;
    return;
  }
  if (known->firm) {
    task.known = task.differs = true;
    return find(path, Status::differ, "the file's content is none of the references", &*known, measured);
  }
  if (!known->digests.empty()) {
    task.known = true;
    return find(path, Status::unknown, "a configuration file with other content than the package's", nullptr, measured);
  }
  find(path, Status::unknown, directory(task) ? "a file without a reference" : "no reference of this path", nullptr, measured);
}

void FileItems::end(Task& task) {
  if (task.stage != Stage::answering) return;
  switch (task.item->type) {
    case Type::fmeta: return finish(task, Evaluation::compliant, "file metadata requested");
    case Type::dmeta: return finish(task, Evaluation::compliant, "directory metadata requested");
    case Type::frefm:
    case Type::drefm:
      task.stage = Stage::held;
      if (proved_) learn(task);
      return;
    case Type::fmeas:
      if (!task.known) return finish(task, Evaluation::unknown, "no reference of this file");
      return finish(task, task.differs ? Evaluation::minor : Evaluation::compliant,
                    task.differs ? "file measurement not correct" : "file measurement correct");
    default: return end_directory(task);
  }
}

void FileItems::end_directory(Task& task) {
  for (const auto& [name, digest] : task.learned) {
    task.differs = true;
    Known known;
    known.digests.push_back(digest);
    find(join(task.item->path, name), Status::differ, "the file is missing", &known);
  }
  if (!task.known) return finish(task, Evaluation::unknown, "no references of this directory");
  finish(task, task.differs ? Evaluation::minor : Evaluation::compliant,
         task.differs ? "directory measurement not correct" : "directory measurement correct");
}

void FileItems::learn(Task& task) {
  if (!*proved_) return finish(task, Evaluation::error, "nothing was learned: " + why_not_);
  const bool whole = directory(task);
  learned_.push_back({*algorithm_, whole ? std::string(task.item->path) : parent(task.item->path), std::move(task.measured), whole});
  finish(task, Evaluation::compliant, whole ? "directory reference measurement successful" : "file reference measurement successful");
}

void FileItems::settle(bool proved, std::string why_not) {
  if (proved_) return;
  proved_ = proved;
  why_not_ = std::move(why_not);
  for (Task& task : tasks_)
    if (task.stage == Stage::held) learn(task);
}

bool FileItems::refuse(std::uint32_t code, Bytes request) {
  const auto at = std::find_if(tasks_.begin(), tasks_.end(), [&](const Task& t) {
    return t.stage == Stage::asked && equal(request, Bytes(t.request).first(std::min(t.request.size(), pts::max_quoted_request)));
  });
  if (at == tasks_.end()) return false;
  finish(*at, Evaluation::error, std::string(pts::error_name(code)));
  return true;
}

void FileItems::unsupported(std::uint32_t type) {
  for (Task& task : tasks_)
    if (task.stage == Stage::asked && measures(task) == (type == pt::request_file_measurement))
      finish(task, Evaluation::error, "the endpoint doesn't know this request");
}

bool FileItems::not_supported() {
  std::size_t waiting = 0;
  for (Task& task : tasks_) {
    if (task.stage != Stage::asked) continue;
    ++waiting;
    finish(task, Evaluation::error, std::string(pts::error_name(pts::error::operation_not_supported)));
  }
  refusals_due_ += waiting;
  if (refusals_due_ == 0) return false;
  --refusals_due_;
  return true;
}

void FileItems::give_up() {
  for (Task& task : tasks_)
    if (task.stage == Stage::asked || task.stage == Stage::answering) finish(task, Evaluation::unknown, "no answer");
}

void FileItems::fail(const std::string& why) {
  in_pieces_.clear();
  for (Task& task : tasks_)
    if (task.stage != Stage::finished) finish(task, Evaluation::error, why);
}

void FileItems::finish(Task& task, Evaluation evaluation, std::string text) {
  task.stage = Stage::finished;
  incorrect_ = incorrect_ || evaluation == Evaluation::minor;
  pending_ = pending_ || evaluation == Evaluation::error || evaluation == Evaluation::unknown;
  task.learned.clear();
  task.measured.clear();
  finish_(*task.item, evaluation, std::move(text));
}

void FileItems::find(const std::string& path, Status status, std::string reason, const Known* known, const Digest& measured) {
  ++findings_total_;
  if (findings_.size() >= max_findings) return;
  pipeline::Finding f;
  f.component = "file";
  f.path = path;
  f.status = status;
  f.reason = std::move(reason);
  const auto tagged = [&](const Digest& digest) { return std::string(name(*algorithm_)) + ":" + digest.hex(); };
  if (known != nullptr) {
    f.package = known->package;
    f.version = known->version;
    for (const Digest& digest : known->digests)
      if (f.expected.size() < 16) f.expected.push_back(tagged(digest));
    std::sort(f.expected.begin(), f.expected.end());
    f.expected.erase(std::unique(f.expected.begin(), f.expected.end()), f.expected.end());
  }
  if (measured.size != 0) f.measured_file = tagged(measured);
  findings_.push_back(std::move(f));
}

}  // namespace gatehouse::server

#include "server/metrics/http_server.h"

#include <array>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <thread>

#include "server/metrics/exposition.h"

namespace gatehouse::server::metrics {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t max_connections = 16;
constexpr std::uint32_t max_head = 8192;

}  // namespace

struct HttpServer::Impl {
  // One connection: one request, its answer, the end.
  class Exchange : public std::enable_shared_from_this<Exchange> {
   public:
    Exchange(Impl& server, tcp::socket socket) : server_(server), stream_(std::move(socket)) {
      ++server_.open_;
      parser_.header_limit(max_head);
    }
    ~Exchange() { --server_.open_; }
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    void start() {
      // For all of it: who sends or reads byte by byte gains nothing.
      stream_.expires_after(server_.patience_);
      http::async_read_header(stream_, buffer_, parser_, [self = shared_from_this()](error_code ec, std::size_t) {
        // It went away, it was silent for too long, or it said nothing.
        if (ec == http::error::end_of_stream || (ec && ec.category() != error_code(http::error::bad_method).category())) return;
        if (ec == http::error::header_limit || ec == http::error::buffer_overflow) return self->answer(http::status::request_header_fields_too_large, {});
        if (ec) return self->answer(http::status::bad_request, {});
        self->answer_request();
      });
    }

   private:
    void answer_request() {
      const auto& request = parser_.get();
      if (request.method() != http::verb::get && request.method() != http::verb::head) return answer(http::status::method_not_allowed, {});
      if (parser_.chunked() || parser_.content_length().value_or(0) != 0) return answer(http::status::bad_request, {});
      const std::string_view target(request.target().data(), request.target().size());
      const std::string_view path = target.substr(0, target.find('?'));
      try {
        if (path == "/metrics") return answer(http::status::ok, server_.body_(), content_type);
        if (path == "/healthz") return answer_check(server_.checks_.healthy);
        if (path == "/readyz") return answer_check(server_.checks_.ready);
        answer(http::status::not_found, {});
      } catch (const std::exception&) {
        answer(http::status::internal_server_error, {});
      }
    }
    void answer_check(const Check& check) {
      const std::string wrong = check ? check() : std::string();
      answer(wrong.empty() ? http::status::ok : http::status::service_unavailable, (wrong.empty() ? "ok" : wrong) + "\n");
    }
    void answer(http::status status, std::string text, std::string_view type = "text/plain; charset=utf-8") {
      response_.result(status);
      response_.version(11);
      response_.keep_alive(false);
      response_.set(http::field::content_type, beast::string_view(type.data(), type.size()));
      response_.set(http::field::cache_control, "no-store");
      if (status == http::status::method_not_allowed) response_.set(http::field::allow, "GET, HEAD");
      if (text.empty()) text = std::string(http::obsolete_reason(status)) + "\n";
      response_.content_length(text.size());
      // The answer to HEAD is the head of the answer to GET.
      if (parser_.get().method() != http::verb::head) response_.body() = std::move(text);
      http::async_write(stream_, response_, [self = shared_from_this()](error_code ec, std::size_t) {
        if (ec) return;
        error_code ignored;
        self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
        self->drain();
      });
    }
    // A socket that is closed over unread bytes takes the answer with it.
    void drain() {
      stream_.async_read_some(asio::buffer(rest_), [self = shared_from_this()](error_code ec, std::size_t) {
        if (!ec) self->drain();
      });
    }

    Impl& server_;
    beast::tcp_stream stream_;
    beast::flat_buffer buffer_{max_head + 1};
    http::request_parser<http::empty_body> parser_;
    http::response<http::string_body> response_;
    std::array<char, 1024> rest_{};
  };

  Impl(Body body, Checks checks, std::chrono::milliseconds patience) : body_(std::move(body)), checks_(std::move(checks)), patience_(patience), acceptor_(context_), pause_(context_) {}

  Result<void> listen(const std::string& address, std::uint16_t port) {
    error_code ec;
    const tcp::endpoint endpoint(asio::ip::make_address(address, ec), port);
    if (!ec) acceptor_.open(endpoint.protocol(), ec);
    if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor_.bind(endpoint, ec);
    if (!ec) acceptor_.listen(16, ec);
    if (!ec) port_ = acceptor_.local_endpoint(ec).port();
    if (ec) return fail(Error{Fault::environment, "can't listen for metrics", {}, 0, address + ":" + std::to_string(port), ec.message()});
    return {};
  }
  void accept() {
    acceptor_.async_accept([this](error_code ec, tcp::socket socket) {
      if (ec == asio::error::operation_aborted) return;
      if (ec) {  // out of descriptors: asking again at once would only ask again
        pause_.expires_after(std::chrono::milliseconds(100));
        return pause_.async_wait([this](error_code stopped) {
          if (!stopped) accept();
        });
      }
      if (open_ < max_connections) std::make_shared<Exchange>(*this, std::move(socket))->start();
      accept();
    });
  }
  void run() {
    for (;;) {
      try {
        context_.run();
        return;
      } catch (const std::exception&) {  // out of memory: the next one may have more
      }
    }
  }

  const Body body_;
  const Checks checks_;
  const std::chrono::milliseconds patience_;
  std::uint16_t port_ = 0;
  std::size_t open_ = 0;  // of the server's thread
  asio::io_context context_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::thread thread_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() {
  impl_->context_.stop();
  impl_->thread_.join();
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& address, std::uint16_t port, Body body, Checks checks,
                                                      std::chrono::milliseconds patience) {
  auto impl = std::make_unique<Impl>(std::move(body), std::move(checks), patience);
  GH_CHECK(impl->listen(address, port));
  impl->accept();
  impl->thread_ = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

std::uint16_t HttpServer::port() const { return impl_->port_; }

}  // namespace gatehouse::server::metrics

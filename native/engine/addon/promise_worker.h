/** Owns running a function on a thread of its own and settling a promise with what it returns or throws. */
#pragma once

#include <napi.h>

#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace tessera::addon {

/** `Work` runs off the JavaScript thread and returns a `Result`; `convert` and `finally` run on it. Deletes itself. */
template <class Result>
class PromiseWorker final : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result()>;
  using Convert = std::function<Napi::Value(Napi::Env, Result&)>;
  using Finally = std::function<void()>;

  static Napi::Promise run(Napi::Env env, Work work, Convert convert, Finally finally) {
    auto* worker = new PromiseWorker(env, std::move(work), std::move(convert), std::move(finally));
    const Napi::Promise promise = worker->deferred_.Promise();
    worker->Queue();
    return promise;
  }

 private:
  PromiseWorker(Napi::Env env, Work work, Convert convert, Finally finally)
      : AsyncWorker(env), deferred_(env), work_(std::move(work)), convert_(std::move(convert)),
        finally_(std::move(finally)) {}

  void Execute() override {
    try {
      result_ = work_();
    } catch (const std::bad_alloc&) {
      SetError("Cannot run the engine: out of memory, expected more");
    } catch (const std::exception& error) {
      SetError(error.what());
    }
    work_ = nullptr;  // its share of the engine ends with the work
  }

  void OnOK() override {
    finally_();
    deferred_.Resolve(convert_(Env(), *result_));
  }

  void OnError(const Napi::Error& error) override {
    finally_();
    deferred_.Reject(error.Value());
  }

  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  Finally finally_;
  std::optional<Result> result_;
};

/** A promise rejected with an error of this text. */
inline Napi::Value rejected(Napi::Env env, const std::string& message) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(Napi::Error::New(env, message).Value());
  return deferred.Promise();
}

}  // namespace tessera::addon

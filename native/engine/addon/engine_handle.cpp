#include "addon/engine_handle.h"

#include <cstring>
#include <vector>

#include "addon/arguments.h"
#include "addon/promise_worker.h"

namespace tessera::addon {

namespace {

using EnginePointer = std::shared_ptr<Engine>;

struct Nothing {};

/** What is taken of a step last of all lets the engine go. */
struct StepOfEngine {
  EnginePointer engine;
  std::unique_ptr<StepInFlight> step;
};

template <class Array, class T>
Array typed_array(Napi::Env env, const std::vector<T>& values) {
  Array array = Array::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(T));
  return array;
}

Napi::Value result_object(Napi::Env env, StepResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("tokenIds", typed_array<Napi::Int32Array>(env, result.token_ids));
  object.Set("logprobs", typed_array<Napi::Float32Array>(env, result.logprobs));
  object.Set("maxTop", result.max_top);
  object.Set("topIds", typed_array<Napi::Int32Array>(env, result.top_ids));
  object.Set("topLogprobs", typed_array<Napi::Float32Array>(env, result.top_logprobs));
  return object;
}

/** Turns what is thrown while arguments are read into a rejected promise. */
template <class Body>
Napi::Value promise_of(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Napi::Error& error) {
    const auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(error.Value());
    return deferred.Promise();
  } catch (const std::exception& error) {
    return rejected(env, error.what());
  }
}

Napi::FunctionReference* constructor(Napi::Env env) { return env.GetInstanceData<Napi::FunctionReference>(); }

}  // namespace

Napi::Function EngineHandle::define(Napi::Env env) {
  return DefineClass(env, "EngineHandle", {
      InstanceAccessor<&EngineHandle::info>("info"),
      InstanceMethod<&EngineHandle::encode_tiles>("encodeTiles"),
      InstanceMethod<&EngineHandle::step>("step"),
      InstanceMethod<&EngineHandle::dry_step>("dryStep"),
      InstanceMethod<&EngineHandle::logits>("logits"),
      InstanceMethod<&EngineHandle::tile_embeddings>("tileEmbeddings"),
      InstanceMethod<&EngineHandle::close>("close"),
  });
}

EngineHandle::EngineHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw Napi::Error::New(info.Env(), "Cannot make an EngineHandle: called as a constructor, expected open()");
  }
  engine_ = std::move(*info[0].As<Napi::External<EnginePointer>>().Data());
  info_ = Napi::Persistent(info_object(info.Env(), engine_->info()));
}

EngineHandle::~EngineHandle() { *self_ = nullptr; }

Napi::Value EngineHandle::open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promise_of(env, [&]() -> Napi::Value {
    const EngineOptions options = read_options(info[0]);
    return PromiseWorker<EnginePointer>::run(
        env, [options] { return EnginePointer(Engine::open(options)); },
        [](Napi::Env env, EnginePointer& engine) -> Napi::Value {
          return constructor(env)->New({Napi::External<EnginePointer>::New(env, &engine)});
        },
        [] {});
  });
}

void EngineHandle::refuse_if_unavailable(const char* action, Call call) const {
  if (engine_ == nullptr || closing_) refuse(action, "the engine is closed", "an open one");
  const int most_steps = engine_->info().steps_in_flight;
  const bool is_in_line = call != Call::kOther && most_steps > 1 && num_steps_ + num_encodes_ == num_calls_;
  const bool has_room = call == Call::kStep ? num_steps_ < most_steps : num_encodes_ == 0;
  if (is_in_line ? !has_room : num_calls_ > 0) refuse(action, "a call is in flight", "one at a time");
}

Napi::Value EngineHandle::info(const Napi::CallbackInfo&) { return info_.Value(); }

std::function<void()> EngineHandle::begin(Call call) {
  num_calls_++;
  if (call == Call::kStep) num_steps_++;
  if (call == Call::kTiles) num_encodes_++;
  Ref();
  return [self = self_, call] {
    if (*self != nullptr) (*self)->finished(call);
  };
}

void EngineHandle::finished(Call call) {
  num_calls_--;
  if (call == Call::kStep) num_steps_--;
  if (call == Call::kTiles) num_encodes_--;
  Unref();
  if (closing_ && num_calls_ == 0) release();
}

void EngineHandle::release() {
  engine_ = nullptr;
  if (closed_) closed_->Resolve(Env().Undefined());
}

Napi::Value EngineHandle::encode_tiles(const Napi::CallbackInfo& info) {
  return promise_of(info.Env(), [&]() -> Napi::Value {
    refuse_if_unavailable("encode tiles", Call::kTiles);
    auto pixels = read_pixels(info[0]);
    auto slots = read_slots("encode tiles", info[1]);
    auto outcome = steps_.run([engine = engine_, pixels = std::move(pixels), slots = std::move(slots)] {
      engine->encode_tiles(pixels, slots);
      return Nothing{};
    });
    return PromiseWorker<Nothing>::run(
        info.Env(), [outcome = outcome.share()] { return outcome.get(); },
        [](Napi::Env env, Nothing&) { return env.Undefined(); }, begin(Call::kTiles));
  });
}

Napi::Value EngineHandle::step(const Napi::CallbackInfo& info) {
  return promise_of(info.Env(), [&]() -> Napi::Value {
    refuse_if_unavailable("step", Call::kStep);
    auto outcome = steps_.run([engine = engine_, batch = read_batch(info[0])] {
      return StepOfEngine{engine, engine->submit(batch.view())};
    });
    return PromiseWorker<StepResult>::run(
        info.Env(), [outcome = outcome.share()] { return outcome.get().step->take(); }, result_object,
        begin(Call::kStep));
  });
}

/** A step without its model, whose every sampled token is 0: what a step costs besides, for benchmarks. */
Napi::Value EngineHandle::dry_step(const Napi::CallbackInfo& info) {
  return promise_of(info.Env(), [&]() -> Napi::Value {
    refuse_if_unavailable("step");
    auto batch = read_batch(info[0]);
    return PromiseWorker<StepResult>::run(
        info.Env(),
        [engine = engine_, batch = std::move(batch)] {
          const StepBatch view = batch.view();
          engine->check(view);
          StepResult result;
          for (uint8_t sample : view.sample) result.token_ids.push_back(sample == 0 ? -1 : 0);
          result.logprobs.resize(view.num_sequences());
          return result;
        },
        result_object, begin());
  });
}

Napi::Value EngineHandle::logits(const Napi::CallbackInfo& info) {
  return promise_of(info.Env(), [&]() -> Napi::Value {
    refuse_if_unavailable("step");
    auto batch = read_batch(info[0]);
    return PromiseWorker<std::vector<float>>::run(
        info.Env(), [engine = engine_, batch = std::move(batch)] { return engine->logits(batch.view()); },
        [](Napi::Env env, std::vector<float>& values) -> Napi::Value {
          return typed_array<Napi::Float32Array>(env, values);
        },
        begin());
  });
}

Napi::Value EngineHandle::tile_embeddings(const Napi::CallbackInfo& info) {
  return promise_of(info.Env(), [&]() -> Napi::Value {
    refuse_if_unavailable("read tile embeddings");
    auto slots = read_slots("read tile embeddings", info[0]);
    return PromiseWorker<std::vector<float>>::run(
        info.Env(), [engine = engine_, slots = std::move(slots)] { return engine->tile_embeddings(slots); },
        [](Napi::Env env, std::vector<float>& values) -> Napi::Value {
          return typed_array<Napi::Float32Array>(env, values);
        },
        begin());
  });
}

Napi::Value EngineHandle::close(const Napi::CallbackInfo& info) {
  if (!closed_) {
    closing_ = true;
    closed_.emplace(info.Env());
    if (num_calls_ == 0) release();
  }
  return closed_->Promise();
}

}  // namespace tessera::addon

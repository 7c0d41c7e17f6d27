/** Owns the JavaScript object around an engine: what may be in flight, results as promises, an end after the last one. */
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>

#include "addon/step_thread.h"
#include "tessera/engine.h"

namespace tessera::addon {

/**
 * Touched on the JavaScript thread alone. The engine is shared with the calls in flight, so that neither collecting this
 * object nor the end of the environment frees it under a running call.
 */
class EngineHandle final : public Napi::ObjectWrap<EngineHandle> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit EngineHandle(const Napi::CallbackInfo& info);
  ~EngineHandle() override;

  /** `open(options)`: resolves to a handle. */
  static Napi::Value open(const Napi::CallbackInfo& info);

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value encode_tiles(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value tile_embeddings(const Napi::CallbackInfo& info);
  Napi::Value dry_step(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  enum class Call { kStep, kTiles, kOther };

  /** Where the engine has use for several steps in flight, tiles may be encoded among them; any other call is alone. */
  void refuse_if_unavailable(const char* action, Call call = Call::kOther) const;
  /** Marks a call as begun; the function it returns ends it, and does nothing once this object is gone. */
  std::function<void()> begin(Call call = Call::kOther);
  void finished(Call call);
  void release();

  std::shared_ptr<Engine> engine_;  // null once closed
  Napi::ObjectReference info_;
  int num_calls_ = 0;  // in flight
  int num_steps_ = 0;  // of them
  int num_encodes_ = 0;
  StepThread steps_;
  bool closing_ = false;
  std::optional<Napi::Promise::Deferred> closed_;
  // Null once this object is destroyed: at the end of an environment a call may end later.
  std::shared_ptr<EngineHandle*> self_ = std::make_shared<EngineHandle*>(this);
};

}  // namespace tessera::addon

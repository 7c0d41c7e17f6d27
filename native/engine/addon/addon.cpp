/** Owns what the addon exports: `open(options) -> Promise<EngineHandle>`. */
#include <napi.h>

#include "addon/engine_handle.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Napi::FunctionReference(Napi::Persistent(tessera::addon::EngineHandle::define(env))));
  exports.Set("open", Napi::Function::New(env, tessera::addon::EngineHandle::open, "open"));
  return exports;
}

}  // namespace

NODE_API_MODULE(tessera, init)

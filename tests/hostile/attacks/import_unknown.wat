;; Imports an interface that no host has: it must be quarantined, and its name must be said.

(component
  (import "evil:host/shell@1.0.0" (instance $shell (export "run" (func (param "command" string)))))
  (core module $m (func (export "run") (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $export (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $export)))

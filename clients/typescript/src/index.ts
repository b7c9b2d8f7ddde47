export { Edge } from "./edge.js";
export type {
  Answer,
  Arguments,
  Call,
  CommandName,
  Commands,
  Conflict,
  Consistency,
  EdgeOptions,
  FieldChange,
  Options,
  Reading,
  ReadOptions,
  WriteOptions,
} from "./edge.js";
export { Deleted, EdgeError, Full, Invalid, NotFound, Offline, Problem, Refused, Stale, TimedOut, Unreachable } from "./errors.js";
export type { ProblemBody } from "./errors.js";
export type { components, paths } from "./generated/agent.js";
export type { Change, DocumentId, WatchOptions } from "./watch.js";

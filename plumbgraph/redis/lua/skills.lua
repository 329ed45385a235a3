-- The shared skill registry: versions that never change, tags that move, a log of every change.
-- KEYS of every part: tag hash, meta hash, versions list, log stream, manifest.

local LOG_LENGTH = 10000

local function log(keys, what, name, tag, digest)
  redis.call("XADD", keys[4], "MAXLEN", "~", LOG_LENGTH, "*",
    "what", what, "name", name, "tag", tag, "digest", digest)
end

-- args: name, tag, digest, meta JSON, digest the tag must point to now ("" for any, "-" for none)
define("publish", function(keys, args)
  local name, tag, digest, meta, expected = args[1], args[2], args[3], args[4], args[5]
  if redis.call("EXISTS", keys[5]) == 0 then
    return redis.error_reply("SKILLINCOMPLETE the manifest is missing")
  end
  local now = redis.call("HGET", keys[1], name) or "-"
  if expected ~= "" and expected ~= now then
    return redis.error_reply("SKILLMOVED " .. now)
  end
  if redis.call("HSETNX", keys[2], digest, meta) == 1 then
    redis.call("RPUSH", keys[3], digest)
  end
  if now == digest then
    return 0
  end
  redis.call("HSET", keys[1], name, digest)
  log(keys, "publish", name, tag, digest)
  return 1
end)

-- args: name, tag, digest of a published version of this very skill
define("move", function(keys, args)
  local name, tag, digest = args[1], args[2], args[3]
  local meta = redis.call("HGET", keys[2], digest)
  if not meta or cjson.decode(meta).name ~= name then
    return redis.error_reply("SKILLUNKNOWN no such version")
  end
  if redis.call("HGET", keys[1], name) == digest then
    return 0
  end
  redis.call("HSET", keys[1], name, digest)
  log(keys, "move", name, tag, digest)
  return 1
end)

-- args: name, tag
define("withdraw", function(keys, args)
  if redis.call("HDEL", keys[1], args[1]) == 0 then
    return 0
  end
  log(keys, "withdraw", args[1], args[2], "")
  return 1
end)

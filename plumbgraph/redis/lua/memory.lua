-- Memory: every decision that must be true under concurrency, one call each.
--
-- A record is a msgpack array. Item keys hold the current record, history lists hold the earlier
-- ones, newest first. The two orders of a namespace, live items and deleted ones, are sorted by
-- the moment of the last change in microseconds, which never repeats and never goes back: that
-- is transaction time, the search order and the change counter at once.

local N, CREATED, UPDATED, TTL, FROM, TO, PROV, EXTRA, VALUE, IDEM, LAST, KIND, CLAIM, RIVALS =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
local MOST_RIVALS = 16

-- keys of a write: item, history, live order, deleted order, namespaces, due, feed, slots, contested
local ITEM, PAST, LIVE, GONE, NAMES, DUE, FEED, SLOTS, OPEN = 1, 2, 3, 4, 5, 6, 7, 8, 9
-- and of a deletion: vectors, uses
local VECTORS, USES, DOCUMENT = 10, 11, 12

-- neither redis.call nor cmsgpack exist yet while a library loads
local function call(...) return redis.call(...) end
local function pack(row) return cmsgpack.pack(row) end
local function unpack_one(raw) return cmsgpack.unpack(raw) end

-- Replies are one msgpack text each: a client reads an array word by word, a text at once.
local function array_of(count)
  if count < 16 then return string.char(144 + count) end
  if count < 65536 then return "\220" .. string.char(math.floor(count / 256), count % 256) end
  return "\221" .. string.char(
    math.floor(count / 16777216), math.floor(count / 65536) % 256,
    math.floor(count / 256) % 256, count % 256)
end

-- records are msgpack already, so that an array of them is their texts in a row
local function records_of(raws, count)
  local parts = {array_of(count)}
  for i = 1, count do parts[i + 1] = raws[i] or "\192" end
  return table.concat(parts)
end

local function time_us()
  local t = call("TIME")
  return t[1] * 1000000 + t[2]
end

local function top(key)
  return tonumber(call("ZREVRANGE", key, 0, 0, "WITHSCORES")[2] or 0)
end

-- the moment of a change: the server's clock, but always after the namespace's last change
local function tick(keys, now)
  local last = math.max(top(keys[LIVE]), top(keys[GONE]))
  if last >= now then return last + 1 end
  return now
end

local function number(text)
  if text == nil or text == "" then return false end
  return tonumber(text)
end

local function record_of(key)
  local raw = call("GET", key)
  if not raw then return nil, nil end
  return unpack_one(raw), raw
end

local function anything_due(keys, now)
  local first = call("ZRANGE", keys[DUE], 0, 0, "WITHSCORES")[2]
  if first and tonumber(first) * 1000 <= now then return 1 end
  return 0
end

local function announce(keys, a, kind, version)
  if a.feed > 0 then
    call("XADD", keys[FEED], "MAXLEN", "~", a.feed, "*", kind, a.path, "v", version)
  end
end

-- put one earlier record into the history and keep that within its count and age
local function remember_past(keys, a, raw, now)
  if a.keep <= 0 then return end
  call("LPUSH", keys[PAST], raw)
  call("LTRIM", keys[PAST], 0, a.keep - 1)
  if a.age <= 0 then return end
  for _ = 1, 2 do
    local pair = call("LRANGE", keys[PAST], -2, -1)
    if #pair < 2 or unpack_one(pair[1])[UPDATED] >= now - a.age * 1000 then return end
    call("RPOP", keys[PAST])
  end
end

local function last_version(keys, a, r)
  if r then return r[LAST] end
  if a.keep <= 0 then return 0 end
  local head = call("LINDEX", keys[PAST], 0)
  if not head then return 0 end
  return unpack_one(head)[LAST]
end

-- the version an earlier call with the same idempotency key made, if it is still known
local function done_before(keys, a, r)
  if a.idem == "" then return nil end
  if r and r[IDEM] == a.idem then return r end
  for _, raw in ipairs(call("LRANGE", keys[PAST], 0, 31)) do
    local past = unpack_one(raw)
    if past[IDEM] == a.idem then return past end
  end
  return nil
end

local function store(keys, a, r, fresh, now)
  local ttl = fresh[TTL]
  if ttl > 0 then
    call("SET", keys[ITEM], pack(fresh), "PX", ttl)
    call("PEXPIRE", keys[PAST], ttl)
    call("ZADD", keys[DUE], now / 1000 + ttl, a.path)
  else
    call("SET", keys[ITEM], pack(fresh))
    if not r or r[TTL] > 0 then
      call("PERSIST", keys[PAST])
      call("ZREM", keys[DUE], a.path)
    end
  end
  if not r then
    call("ZADD", keys[NAMES], 0, a.ns)
    call("ZREM", keys[GONE], a.key)
  end
  call("ZADD", keys[LIVE], fresh[UPDATED], a.key)
end

-- "3" is any third version; "3@LIFE" only that of the item created at that moment
local function expectation(text)
  if text == "" then return nil, nil end
  local n, life = string.match(text, "^(%d+)@?(%d*)$")
  return tonumber(n), tonumber(life)
end

local function arguments(args)
  local expected, life = expectation(args[6])
  return {
    ns = args[1], key = args[2], path = args[1] .. "\0\0" .. args[2],
    keep = tonumber(args[3]), age = tonumber(args[4]), feed = tonumber(args[5]),
    expected = expected, life = life, idem = args[7], ttl = tonumber(args[8] or 0),
    from = number(args[9]), to = number(args[10]), prov = args[11] or "", extra = args[12] or "",
    value = args[13] or "",
  }
end

-- what both kinds of write ask first; returns an answer when the write must not happen
local function refusal(keys, a, r, now)
  local done = done_before(keys, a, r)
  if done then
    return pack({"same", done[N], done[UPDATED], anything_due(keys, now), done[CREATED]})
  end
  local found = r and r[N] or 0
  local other_life = a.life and r and r[CREATED] ~= a.life
  if a.expected and (a.expected ~= found or other_life) then
    return pack({"conflict", found, 0, anything_due(keys, now), 0})
  end
  return nil
end

define("put", function(keys, args)
  local a, now = arguments(args), time_us()
  local r, raw = record_of(keys[ITEM])
  local refused = refusal(keys, a, r, now)
  if refused then return refused end
  local at, n = tick(keys, now), last_version(keys, a, r) + 1
  if r then remember_past(keys, a, raw, now) end
  local fresh = {
    n, r and r[CREATED] or at, at, a.ttl, a.from, a.to, a.prov, a.extra, a.value, a.idem, n, "p",
  }
  store(keys, a, r, fresh, now)
  announce(keys, a, "p", n)
  return pack({"ok", n, at, anything_due(keys, now), fresh[CREATED]})
end)

local function drop_marks(keys, key)
  call("ZREM", keys[SLOTS], key)
  call("ZREM", keys[OPEN], key)
  call("HDEL", keys[VECTORS], key)
  call("HDEL", keys[USES], key)
  call("DEL", keys[DOCUMENT])
end

local function forget(keys, a, r, raw, at, now, n)
  if a.keep > 0 then
    remember_past(keys, a, raw, now)
    local grave = {n, r[CREATED], at, 0, false, false, a.prov, "", "", a.idem, n, "d"}
    call("LPUSH", keys[PAST], pack(grave))
    call("PEXPIRE", keys[PAST], a.age)
  end
  call("DEL", keys[ITEM])
  call("ZREM", keys[LIVE], a.key)
  drop_marks(keys, a.key)
  call("ZADD", keys[GONE], at, a.key)
  call("ZADD", keys[DUE], now / 1000 + a.age, a.path)
  if call("EXISTS", keys[LIVE]) == 0 then call("ZREM", keys[NAMES], a.ns) end
end

define("delete", function(keys, args)
  local a, now = arguments(args), time_us()
  local r, raw = record_of(keys[ITEM])
  local refused = refusal(keys, a, r, now)
  if refused then return refused end
  if not r then return pack({"absent", 0, 0, anything_due(keys, now), 0}) end
  local at, n = tick(keys, now), r[LAST] + 1
  forget(keys, a, r, raw, at, now, n)
  announce(keys, a, "d", n)
  return pack({"ok", n, at, anything_due(keys, now), r[CREATED]})
end)

-- Current records, their time to live begun anew.
-- keys: items …, due; args: where the path begins in an item's key
define("get", function(keys, args)
  local found, start = {}, tonumber(args[1])
  for i = 1, #keys - 1 do
    local raw = call("GET", keys[i])
    if raw and call("PTTL", keys[i]) > 0 then
      local ttl = unpack_one(raw)[TTL]
      call("PEXPIRE", keys[i], ttl)
      local now = time_us()
      call("ZADD", keys[#keys], now / 1000 + ttl, string.sub(keys[i], start))
    end
    found[i] = raw
  end
  return records_of(found, #keys - 1)
end)

-- current records, left as they are; keys: items …
define("peek", function(keys, args)
  return records_of(call("MGET", unpack(keys)), #keys)
end, {"no-writes"})

-- current records and how often each was recalled; keys: items …, uses; args: the items' own keys
define("fetch", function(keys, args)
  local uses = table.remove(keys)
  return array_of(2) .. records_of(call("MGET", unpack(keys)), #keys)
    .. pack(call("HMGET", uses, unpack(args)))
end, {"no-writes"})

-- items with their whole pasts; keys: item, history, item, history …
define("states", function(keys, args)
  local parts = {array_of(#keys / 2)}
  for i = 1, #keys, 2 do
    local past = call("LRANGE", keys[i + 1], 0, -1)
    local now = call("GET", keys[i]) or "\192"
    parts[#parts + 1] = array_of(2) .. now .. records_of(past, #past)
  end
  return table.concat(parts)
end, {"no-writes"})

-- Where to look for items: whether something expired, the namespaces of a range, and the newest
-- keys of some namespaces with the moments of their last changes.
-- keys: due, namespaces, live orders …; args: range begins, range ends, most keys
define("look", function(keys, args)
  local newest = {}
  for i = 3, #keys do
    newest[i - 2] = call("ZREVRANGE", keys[i], 0, args[3], "WITHSCORES")
  end
  local names = call("ZRANGEBYLEX", keys[2], args[1], args[2])
  return pack({anything_due({[DUE] = keys[1]}, time_us()), names, newest})
end, {"no-writes"})

-- What a claim does to the one that is held; plumbgraph/memory/conflict.py says the same in Python.
-- Arguments after the common ones: policy, norm, confidence, rank, source, settle.
local function verdict(policy, r, claim, from, settle)
  local held = r[CLAIM]
  if settle then return "settled" end
  if held[1] == claim[1] then
    if from and from < (r[FROM] or r[UPDATED]) then return "late" end
    return "refreshed"
  end
  if policy == "contest" then return "contested" end
  if policy == "keep" then return "outvoted" end
  if policy == "last_write" then return "superseded" end
  if policy == "confidence" then
    return claim[2] >= held[2] and "superseded" or "outvoted"
  end
  if policy == "source" then
    return claim[3] <= held[3] and "superseded" or "outvoted"
  end
  if from and from < math.max(r[FROM] or r[UPDATED], held[5] or 0) then return "late" end
  return "superseded"
end

local function rivals_with(r, claim, a, at)
  local rivals = {}
  for _, rival in ipairs(r[RIVALS] or {}) do
    if rival[1] ~= claim[1] then rivals[#rivals + 1] = rival end
  end
  rivals[#rivals + 1] = {claim[1], claim[2], claim[4], a.from, a.to, a.prov, a.value, at}
  while #rivals > MOST_RIVALS do table.remove(rivals, 1) end
  return rivals
end

local function supersede(keys, a, r, raw, claim, at, now, kind)
  local n = last_version(keys, a, r) + 1
  if r then remember_past(keys, a, raw, now) end
  local fresh = {
    n, r and r[CREATED] or at, at, a.ttl, a.from, a.to, a.prov, a.extra, a.value, a.idem, n, kind,
    claim, false,
  }
  store(keys, a, r, fresh, now)
  call("ZREM", keys[OPEN], a.key)
  call("ZADD", keys[SLOTS], 0, a.key)
  return n
end

-- keep what is held: only its marks change, the moment of its last change does not
local function keep(keys, a, r, at)
  call("SET", keys[ITEM], pack(r), "KEEPTTL")
  if r[TTL] > 0 then
    call("PEXPIRE", keys[ITEM], r[TTL])
    call("PEXPIRE", keys[PAST], r[TTL])
    call("ZADD", keys[DUE], time_us() / 1000 + r[TTL], a.path)
  end
  call("ZADD", keys[LIVE], at, a.key)
end

local function refresh(keys, a, r, claim, at)
  local held = r[CLAIM]
  held[2] = math.max(held[2], claim[2])
  held[5] = math.max(held[5] or 0, a.from or at)
  held[6] = (held[6] or 1) + 1
  if a.idem ~= "" then r[IDEM] = a.idem end
  keep(keys, a, r, at)
  return r[N]
end

-- a claim that does not become the current one still is part of the history
local function set_aside(keys, a, r, claim, at, now, kind)
  local n = r[LAST] + 1
  r[LAST] = n
  local aside = {
    n, r[CREATED], at, r[TTL], a.from, a.to, a.prov, a.extra, a.value, a.idem, n, kind, claim,
  }
  remember_past(keys, a, pack(aside), now)
  keep(keys, a, r, at)
  return n
end

local function contest(keys, a, r, raw, claim, at, now)
  remember_past(keys, a, raw, now)
  r[LAST] = r[LAST] + 1
  r[N], r[UPDATED], r[KIND], r[IDEM] = r[LAST], at, "c", a.idem
  r[RIVALS] = rivals_with(r, claim, a, at)
  r[FROM] = r[FROM] or unpack_one(raw)[UPDATED]
  keep(keys, a, r, at)
  call("ZADD", keys[OPEN], at, a.key)
  return r[N]
end

define("remember", function(keys, args)
  local a, now = arguments(args), time_us()
  local policy, settle = args[14], args[19] == "1"
  local claim = {args[15], tonumber(args[16]), tonumber(args[17]), args[18], false, 1}
  local r, raw = record_of(keys[ITEM])
  local refused = refusal(keys, a, r, now)
  if refused then return refused end
  local at = tick(keys, now)
  local outcome, n = "created", nil
  if r and r[CLAIM] then outcome = verdict(policy, r, claim, a.from, settle) end
  if outcome == "refreshed" then
    n = refresh(keys, a, r, claim, at)
  elseif outcome == "late" or outcome == "outvoted" then
    n = set_aside(keys, a, r, claim, at, now, outcome == "late" and "l" or "o")
  elseif outcome == "contested" then
    n = contest(keys, a, r, raw, claim, at, now)
  else
    n = supersede(keys, a, r, raw, claim, at, now, settle and "s" or "p")
  end
  announce(keys, a, "p", n)
  return pack({outcome, n, at, anything_due(keys, now), r and r[CREATED] or at})
end)

-- what changed after a moment, in order; keys: live order, deleted order
define("changes", function(keys, args)
  local after, most = "(" .. args[1], tonumber(args[2])
  local live = call("ZRANGEBYSCORE", keys[1], after, "+inf", "WITHSCORES", "LIMIT", 0, most)
  local gone = call("ZRANGEBYSCORE", keys[2], after, "+inf", "WITHSCORES", "LIMIT", 0, most)
  local last = math.max(top(keys[1]), top(keys[2]))
  return pack({time_us(), call("ZCARD", keys[1]), last, live, gone})
end, {"no-writes"})

-- Where a search module holds the namespace: what it has not been told yet or, when nothing, its
-- answers. keys: live order, deleted order, what the module was told, due; args: most changes, then
-- packed searches …
define("seek", function(keys, args)
  local cursor = call("HGET", keys[3], "cursor") or "0"
  local after, most = "(" .. cursor, tonumber(args[1])
  local live = call("ZRANGEBYSCORE", keys[1], after, "+inf", "WITHSCORES", "LIMIT", 0, most)
  local gone = call("ZRANGEBYSCORE", keys[2], after, "+inf", "WITHSCORES", "LIMIT", 0, most)
  local due = anything_due({[DUE] = keys[4]}, time_us())
  local answers = {}
  if #live == 0 and #gone == 0 and due == 0 then
    for i = 2, #args do
      local answer = redis.pcall(unpack(unpack_one(args[i])))
      answers[i - 1] = answer.err or answer
    end
  end
  local language = call("HGET", keys[3], "language") or ""
  return pack({call("ZCARD", keys[1]), tonumber(cursor), language, due, live, gone, answers})
end, {"no-writes"})

-- Tell a search module of items, each only if it is still as it was read.
-- keys: what the module was told, item, document, item, document …
-- args: cursor, language, then for each item its moment and its packed document, both '' for none
define("file", function(keys, args)
  for i = 2, #keys, 2 do
    local r, moment = record_of(keys[i]), args[i + 1]
    if not r then
      call("DEL", keys[i + 1])
    elseif r[UPDATED] == tonumber(moment) and call("HGET", keys[i + 1], "u") ~= moment then
      call("DEL", keys[i + 1])
      if args[i + 2] ~= "" then call("HSET", keys[i + 1], unpack(unpack_one(args[i + 2]))) end
    end
  end
  if tonumber(call("HGET", keys[1], "cursor") or 0) < tonumber(args[1]) then
    call("HSET", keys[1], "cursor", args[1], "language", args[2])
  end
end)

define("due", function(keys, args)
  local now = time_us() / 1000
  return pack(call("ZRANGEBYSCORE", keys[1], "-inf", now, "LIMIT", 0, tonumber(args[1])))
end, {"no-writes"})

-- drop what expiry left behind, unless the item was written again meanwhile
define("sweep", function(keys, args)
  local path, ns, key = args[1], args[2], args[3]
  if call("EXISTS", keys[ITEM]) == 1 then
    local left = call("PTTL", keys[ITEM])
    if left < 0 then
      call("ZREM", keys[DUE], path)
    else
      call("ZADD", keys[DUE], time_us() / 1000 + left, path)
    end
    return 0
  end
  local score = call("ZSCORE", keys[DUE], path)
  if not score or tonumber(score) > time_us() / 1000 then return 0 end
  call("ZREM", keys[DUE], path)
  call("DEL", keys[PAST])
  call("ZREM", keys[LIVE], key)
  call("ZREM", keys[GONE], key)
  drop_marks(keys, key)
  if call("EXISTS", keys[LIVE]) == 0 then call("ZREM", keys[NAMES], ns) end
  return 1
end)

define("used", function(keys, args)
  for i = 1, #args, 2 do call("HINCRBY", keys[1], args[i], args[i + 1]) end
  return #args / 2
end)

-- Put back a saved state, records and all, if the item still has the version expected.
-- args: namespace, key, expected version or '', feed length, current record or '', history age,
-- past records …
define("restore", function(keys, args)
  local path = args[1] .. "\0\0" .. args[2]
  local a = {ns = args[1], key = args[2], path = path, feed = tonumber(args[4])}
  local now = time_us()
  local r = record_of(keys[ITEM])
  local found = r and r[N] or 0
  if args[3] ~= "" and tonumber(args[3]) ~= found then return pack({"conflict", found}) end
  local at = tick(keys, now)
  call("DEL", keys[ITEM], keys[PAST])
  for i = 7, #args do call("RPUSH", keys[PAST], args[i]) end
  for _, place in ipairs({SLOTS, OPEN, LIVE, GONE}) do call("ZREM", keys[place], a.key) end
  call("ZREM", keys[DUE], a.path)
  local saved = args[5] ~= "" and unpack_one(args[5]) or nil
  if saved then
    store(keys, a, nil, saved, now)
    call("ZADD", keys[LIVE], at, a.key)
    if saved[CLAIM] then call("ZADD", keys[SLOTS], 0, a.key) end
    if saved[RIVALS] then call("ZADD", keys[OPEN], at, a.key) end
  else
    if #args > 6 then
      call("PEXPIRE", keys[PAST], args[6])
      call("ZADD", keys[DUE], now / 1000 + tonumber(args[6]), a.path)
    end
    call("ZADD", keys[GONE], at, a.key)
    if call("EXISTS", keys[LIVE]) == 0 then call("ZREM", keys[NAMES], a.ns) end
  end
  announce(keys, a, saved and "p" or "d", saved and saved[N] or 0)
  return pack({"ok", saved and saved[N] or 0})
end)

-- Write the feed anew without some entries, so that none of their bytes stays behind.
define("rewrite_feed", function(keys, args)
  local gone = {}
  for _, id in ipairs(args) do gone[id] = true end
  local entries = call("XRANGE", keys[1], "-", "+")
  local last = entries[#entries][1]
  call("DEL", keys[1])
  local kept = 0
  for _, entry in ipairs(entries) do
    if not gone[entry[1]] then
      call("XADD", keys[1], entry[1], unpack(entry[2]))
      kept = kept + 1
    end
  end
  if kept > 0 then call("XSETID", keys[1], last) end
  return kept
end)

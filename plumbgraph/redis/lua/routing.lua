-- Budgets: reserve before a call, settle after it, count as spent what nobody settles.
--
-- Every part takes the same seven keys of one tenant, in this order:
--   budget  hash   ACCOUNT:s spent, ACCOUNT:h held, ACCOUNT:x granted beyond the limit, g|ID grants
--   due     zset   lease -> when it runs out, in milliseconds
--   lease   hash   lease -> its facts while it is held
--   ledger  hash   charge id -> row
--   doubt   hash   lease -> its facts once it was counted as spent without a row
--   seen    zset   ACCOUNT -> last use, in milliseconds
--   health  hash   see below
-- Amounts are whole nano-dollars below 2^53, where Lua's numbers are exact.

local BUDGET, DUE, LEASE, LEDGER, DOUBT, SEEN, HEALTH = 1, 2, 3, 4, 5, 6, 7
local KEEP_MS = 400 * 86400000

local function whole(n)
  return string.format("%.0f", n)
end

local function clock(given)
  local ms = tonumber(given)
  if ms > 0 then
    return ms
  end
  local t = redis.call("TIME")
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function month_of(ms)
  -- Days to a civil month, after Howard Hinnant's chrono algorithms.
  local z = math.floor(ms / 86400000) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local years = doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)
  local yoe = math.floor(years / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format("%04d%02d", year, month)
end

local function account(id, per, ms)
  if per == "hour" then
    return id .. "|h" .. whole(math.floor(ms / 3600000))
  elseif per == "day" then
    return id .. "|d" .. whole(math.floor(ms / 86400000))
  elseif per == "month" then
    return id .. "|m" .. month_of(ms)
  end
  return id
end

local function amount(keys, field)
  return tonumber(redis.call("HGET", keys[BUDGET], field) or "0")
end

local function move(keys, accounts, held, spent)
  for _, name in ipairs(accounts) do
    if held ~= 0 then
      redis.call("HINCRBY", keys[BUDGET], name .. ":h", whole(held))
    end
    if spent ~= 0 then
      redis.call("HINCRBY", keys[BUDGET], name .. ":s", whole(spent))
    end
  end
end

local function drop_lease(keys, id)
  redis.call("HDEL", keys[LEASE], id)
  redis.call("ZREM", keys[DUE], id)
end

local function to_doubt(keys, id, why)
  local facts = redis.call("HGET", keys[LEASE], id)
  if not facts then
    redis.call("ZREM", keys[DUE], id)
    return 0
  end
  local lease = cjson.decode(facts)
  move(keys, lease.accounts, -lease.nano, lease.nano)
  lease.why = why
  redis.call("HSET", keys[DOUBT], id, cjson.encode(lease))
  drop_lease(keys, id)
  return 1
end

local function sweep(keys, now)
  local late = redis.call("ZRANGEBYSCORE", keys[DUE], "-inf", whole(now), "LIMIT", 0, 50)
  for _, id in ipairs(late) do
    to_doubt(keys, id, "its owner was not heard of again")
  end
end

local function forget(keys, now)
  local idle = redis.call("ZRANGEBYSCORE", keys[SEEN], "-inf", whole(now - KEEP_MS), "LIMIT", 0, 10)
  for _, name in ipairs(idle) do
    if amount(keys, name .. ":h") == 0 then
      redis.call("HDEL", keys[BUDGET], name .. ":s", name .. ":h", name .. ":x")
      redis.call("ZREM", keys[SEEN], name)
    end
  end
end

-- Who asks for a lease again knows that its call was not made: what it held or was counted for
-- is given back first, so that a resumed run neither holds twice nor leaves a doubt behind.
local function give_back(keys, id)
  local facts, held = redis.call("HGET", keys[LEASE], id), true
  if not facts then
    facts, held = redis.call("HGET", keys[DOUBT], id), false
  end
  if not facts then
    return
  end
  local lease = cjson.decode(facts)
  move(keys, lease.accounts, held and -lease.nano or 0, held and 0 or -lease.nano)
  drop_lease(keys, id)
  redis.call("HDEL", keys[DOUBT], id)
end

-- args: lease, nano, ttl_ms, now_ms, facts, then account, limit, period, ...
-- returns {"ok"} | {"no", account, spent, held, room}
define("reserve", function(keys, args)
  local id, nano, now = args[1], tonumber(args[2]), clock(args[4])
  sweep(keys, now)
  forget(keys, now)
  give_back(keys, id)
  local accounts = {}
  for i = 6, #args, 3 do
    local name = account(args[i], args[i + 2], now)
    local room = tonumber(args[i + 1]) + amount(keys, name .. ":x")
    local spent, held = amount(keys, name .. ":s"), amount(keys, name .. ":h")
    if spent + held + nano > room then
      return { "no", args[i], whole(spent), whole(held), whole(room) }
    end
    accounts[#accounts + 1] = name
  end
  move(keys, accounts, nano, 0)
  for _, name in ipairs(accounts) do
    redis.call("ZADD", keys[SEEN], whole(now), name)
  end
  local lease = { nano = nano, accounts = accounts, at_ms = now, facts = args[5] }
  redis.call("HSET", keys[LEASE], id, cjson.encode(lease))
  redis.call("ZADD", keys[DUE], whole(now + tonumber(args[3])), id)
  return { "ok" }
end)

-- args: lease, charge, nano, now_ms, row, then account, limit, period, ...
-- returns "settled" | "again" | "cleared" (was in doubt) | "late" (the lease was not known)
define("settle", function(keys, args)
  local id, charge, nano = args[1], args[2], tonumber(args[3])
  local held = redis.call("HGET", keys[LEASE], id)
  local row = redis.call("HGET", keys[LEDGER], charge)
  if row and cjson.decode(row).lease ~= id then
    -- Two calls with one response id: the provider repeats itself, but both are billed.
    charge = charge .. "#" .. id
    row = redis.call("HGET", keys[LEDGER], charge)
  end
  if row then
    return "again"
  end
  redis.call("HSET", keys[LEDGER], charge, args[5])
  if held then
    local lease = cjson.decode(held)
    move(keys, lease.accounts, -lease.nano, nano)
    drop_lease(keys, id)
    return "settled"
  end
  local doubt = redis.call("HGET", keys[DOUBT], id)
  if doubt then
    local lease = cjson.decode(doubt)
    move(keys, lease.accounts, 0, nano - lease.nano)
    redis.call("HDEL", keys[DOUBT], id)
    return "cleared"
  end
  local accounts, now = {}, clock(args[4])
  for i = 6, #args, 3 do
    accounts[#accounts + 1] = account(args[i], args[i + 2], now)
  end
  move(keys, accounts, 0, nano)
  return "late"
end)

-- args: lease; the call was certainly not billed
define("release", function(keys, args)
  local held = redis.call("HGET", keys[LEASE], args[1])
  if not held then
    return 0
  end
  local lease = cjson.decode(held)
  move(keys, lease.accounts, -lease.nano, 0)
  drop_lease(keys, args[1])
  return 1
end)

-- args: lease, why; the call may have been billed
define("doubt", function(keys, args)
  return to_doubt(keys, args[1], args[2])
end)

-- args: now_ms; leases that ran out become doubts, also where nobody reserves any more
-- returns how many doubts there are
define("late", function(keys, args)
  local now = clock(args[1])
  for _ = 1, 100 do
    if redis.call("ZCOUNT", keys[DUE], "-inf", whole(now)) == 0 then
      break
    end
    sweep(keys, now)
  end
  return redis.call("HLEN", keys[DOUBT])
end)

-- args: grant id, nano, now_ms, account, period; a grant counts once
define("grant", function(keys, args)
  if redis.call("HSETNX", keys[BUDGET], "g|" .. args[1], args[2]) == 0 then
    return 0
  end
  local name = account(args[4], args[5], clock(args[3]))
  redis.call("HINCRBY", keys[BUDGET], name .. ":x", args[2])
  return 1
end)

-- args: now_ms, then account, limit, period, ...; returns spent, held, room of each
define("balance", function(keys, args)
  local now, told = clock(args[1]), {}
  for i = 2, #args, 3 do
    local name = account(args[i], args[i + 2], now)
    told[#told + 1] = whole(amount(keys, name .. ":s"))
    told[#told + 1] = whole(amount(keys, name .. ":h"))
    told[#told + 1] = whole(tonumber(args[i + 1]) + amount(keys, name .. ":x"))
  end
  return told
end, { "no-writes" })

-- Breakers: hash HEALTH, MODEL:n failures in a row, MODEL:u closed to calls until (ms),
-- MODEL:p a probe is under way until (ms).

-- args: now_ms, then models; returns for each 0 may be called, 1 may not, 2 needs a probe
define("states", function(keys, args)
  local now, told = clock(args[1]), {}
  for i = 2, #args do
    local till = tonumber(redis.call("HGET", keys[HEALTH], args[i] .. ":u") or "0")
    local probe = tonumber(redis.call("HGET", keys[HEALTH], args[i] .. ":p") or "0")
    told[i - 1] = till == 0 and 0 or ((till > now or probe > now) and 1 or 2)
  end
  return told
end, { "no-writes" })

-- args: now_ms, probe_ms, model; claims the probe of a model whose closed time is over: 1 or 0
define("probe", function(keys, args)
  local now, model = clock(args[1]), args[3]
  local till = tonumber(redis.call("HGET", keys[HEALTH], model .. ":u") or "0")
  if till == 0 then
    return 1
  end
  local probe = tonumber(redis.call("HGET", keys[HEALTH], model .. ":p") or "0")
  if till > now or probe > now then
    return 0
  end
  redis.call("HSET", keys[HEALTH], model .. ":p", whole(now + tonumber(args[2])))
  return 1
end)

-- args: model; it answered
define("healthy", function(keys, args)
  return redis.call("HDEL", keys[HEALTH], args[1] .. ":n", args[1] .. ":u", args[1] .. ":p")
end)

-- args: now_ms, model, threshold, base_ms, most_ms, retry_after_ms
-- returns how long it is closed, in milliseconds; 0 while it stays open to calls
define("failed", function(keys, args)
  local now, model = clock(args[1]), args[2]
  local count = redis.call("HINCRBY", keys[HEALTH], model .. ":n", 1)
  local told, over = tonumber(args[6]), count - tonumber(args[3])
  if told == 0 and over < 0 then
    return 0
  end
  local rest = math.min(tonumber(args[4]) * 2 ^ math.max(math.min(over, 20), 0), tonumber(args[5]))
  rest = math.max(rest, told)
  redis.call("HSET", keys[HEALTH], model .. ":u", whole(now + rest))
  redis.call("HDEL", keys[HEALTH], model .. ":p")
  return whole(rest)
end)

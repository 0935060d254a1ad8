-- What is left of all of one team's limits, in one step and by this server's clock.
--
-- KEYS: the gateways that use them, then one key a limit; all with the team's hash tag.
-- ARGV: this gateway, whether it wants anything, then for each limit its kind and numbers:
--   units: depth, per, window, slice, want, need, back, unsent, debt, seen level, seen at, from, to
--   slots: most, used, want, hold
-- Times are microseconds. Answers: now, how many gateways, then two numbers a limit.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local me, active, cursor = ARGV[1], ARGV[2], 2

local function text()
  cursor = cursor + 1
  return ARGV[cursor]
end

local function number()
  return tonumber(text())
end

-- A gateway counts for ten seconds after it last wanted anything. What needs memory comes
-- first: a full server refuses a script at its first write or not at all.
if active == '1' then
  redis.call('ZADD', KEYS[1], now, me)
  redis.call('PEXPIRE', KEYS[1], 20000)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 10000000)
local gateways = math.max(1, redis.call('ZCARD', KEYS[1]))

-- A level that refills by `per` each `window`, up to `depth`; a key that is gone is full.
local function units(key)
  local depth, per, window, slice = number(), number(), number(), number()
  local want, need, back, unsent, debt = number(), number(), number(), number(), number()
  local seen, seen_at, from, to = number(), number(), number(), number()
  if to > 0 and (now < from or now >= to) then
    return -1, 0 -- the gateway's clock has another day
  end
  local level, at, born = string.match(redis.call('GET', key) or '', '^(%S+) (%S+) (%S+)$')
  level, at, born = tonumber(level), tonumber(at), tonumber(born)
  if not born then level, at, born = depth, now, now end
  level = math.min(depth, level + math.max(0, now - at) * per / window)
  if seen_at > 0 and (seen_at < born or seen_at > at) then
    -- The key is younger than what this gateway was told, or was last written before that: the
    -- server has lost its memory, or is a replica that never heard. All may tell what they saw.
    if seen_at > at then born = now end
    level = math.min(level, seen + math.max(0, now - seen_at) * per / window)
  end
  level = math.min(depth, level + back + unsent * per / window) - debt
  local most = math.max(1, need, math.floor(slice / math.max(2, gateways)))
  local granted = math.max(0, math.floor(math.min(want, most, level)))
  level = level - granted
  local life = to - now
  if to == 0 then life = (depth - level) * window / per end
  local stored = string.format('%.17g %.0f %.0f', level, now, born)
  redis.call('SET', key, stored, 'PX', string.format('%.0f', life / 1000 + 10000))
  return granted, math.floor(level)
end

-- Slots held by each gateway: 'held hungry until'. One that is not heard of loses them.
local function slots(key)
  local most, used, want, hold = number(), number(), number(), number()
  local held, live, hungry = 0, 1, 0
  local entries = redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    local count, waits, till = string.match(entries[i + 1], '^(%S+) (%S+) (%S+)$')
    if not till or tonumber(till) <= now then
      redis.call('HDEL', key, entries[i])
    elseif entries[i] ~= me then
      held, live, hungry = held + tonumber(count), live + 1, hungry + tonumber(waits)
    end
  end
  local free = math.max(0, most - held)
  local allowed = math.min(want, free)
  if hungry > 0 then
    -- Others wait: whoever holds more than a fair share makes room as its calls end.
    allowed = math.min(allowed, math.max(1, math.floor(most / live)))
  end
  local holds, waits = math.max(allowed, used), 0
  if allowed < want then waits = 1 end
  if holds == 0 and waits == 0 then
    redis.call('HDEL', key, me)
  else
    redis.call('HSET', key, me, string.format('%.0f %d %.0f', holds, waits, now + hold))
    redis.call('PEXPIRE', key, string.format('%.0f', hold / 1000))
  end
  return allowed, math.max(0, free - holds)
end

local answers = { now, gateways }
for i = 2, #KEYS do
  local kind = text()
  local one, other
  if kind == 'units' then one, other = units(KEYS[i]) else one, other = slots(KEYS[i]) end
  answers[#answers + 1] = one
  answers[#answers + 1] = other
end
return answers

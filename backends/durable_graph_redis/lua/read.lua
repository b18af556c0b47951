-- One look at a thread: at its head, or at a checkpoint.
-- KEYS: the thread. ARGV: 1 the position that the caller knows, or empty; 2 "c:" and a checkpoint,
-- or empty.
-- Head, where the log is if not here, waiting messages (id, message), how the values before each
-- range of the path begin, the values of the path; for a checkpoint also its own value and those
-- after it up to the next commit.
local thread = KEYS[1]
local now = redis.call('HMGET', thread, 'head', 'away', 'at', 'inbox')
local head = now[1]
if not head then return {false, now[2]} end

local messages = {}
if now[4] then
  local from, to = string.match(now[4], '(%d+) (%d+)')
  for number = tonumber(from), tonumber(to) do
    local id = redis.call('HGET', thread, 'w:' .. number)
    if id then
      messages[#messages + 1] = id
      messages[#messages + 1] = redis.call('HGET', thread, 'm:' .. id)
    end
  end
end

local last = tonumber(string.match(now[3] or '', '^%d+')) or 0
local befores, values = {}, {}

local function before(seq)
  local value = redis.call('HGET', thread, 'r:' .. seq)
  return value and string.sub(value, 1, 1 + (string.byte(value, 1) or 0)) or false
end

local function fetch(path)
  for _, range in ipairs(path) do
    local from, to = range[1], math.min(range[2], last)
    befores[#befores + 1] = from > 1 and before(from - 1)
    while from <= to do
      local names = {}
      for seq = from, math.min(to, from + 999) do names[#names + 1] = 'r:' .. seq end
      local found = redis.call('HMGET', thread, unpack(names))
      for i = 1, #names do values[#values + 1] = found[i] end
      from = from + #names
    end
  end
end

-- What is damaged is told as it is: who reads it has checksums.
if ARGV[2] == '' then
  if ARGV[1] ~= now[3] then
    local sound, decoded = pcall(cjson.decode, head)
    if sound and type(decoded[7]) == 'table' then fetch(decoded[7].path or {}) end
  end
  return {head, now[2], messages, befores, values}
end

local seq = redis.call('HGET', thread, ARGV[2])
local commit = seq and redis.call('HGET', thread, 'r:' .. seq)
if not commit then return {head, now[2], messages, {}, {}, false, 0, {}} end
seq = tonumber(seq)
local found, _, _, _, _, _, header = pcall(struct.unpack, '>Bc0Bc0BBc0Hc0I4c0', commit)
local own = before(seq - 1)
local sound, decoded = pcall(cjson.decode, header)
if sound and type(decoded.path) == 'table' then fetch(decoded.path) end
local after = {}
for number = seq + 1, last do
  local value = redis.call('HGET', thread, 'r:' .. number)
  after[#after + 1] = value
  if not value then break end
  local _, _, _, _, kind = pcall(struct.unpack, '>Bc0Bc0BBc0', value)
  if kind == 'commit' then break end
end
return {head, now[2], messages, befores, values, {own, commit}, seq, after}
